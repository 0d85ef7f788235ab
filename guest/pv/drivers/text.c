/*
 * Bytes and texts (text.h), as far as the library's own C has them not.
 */
#include <stdbool.h>
#include <stdint.h>

#include <guest/pv/lib/text.h>

void *
memmove(void *to, const void *from, size_t len)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (t <= f || t >= f + len)
		return memcpy(to, from, len);
	while (len--)
		t[len] = f[len];
	return to;
}

int
memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *p = a, *q = b;

	for (size_t i = 0; i < len; i++)
		if (p[i] != q[i])
			return p[i] - q[i];
	return 0;
}

size_t
strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int
strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (uint8_t)*a - (uint8_t)*b;
}

struct out {
	char *to;
	size_t size, len;
};

static void
put(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->to[o->len] = c;
	o->len++;
}

/* To the left in so many columns if `left`, else to the right. */
static void
put_text(struct out *o, const char *s, size_t len, size_t width, bool left)
{
	for (size_t n = len; !left && n < width; n++)
		put(o, ' ');
	for (size_t i = 0; i < len; i++)
		put(o, s[i]);
	for (size_t n = len; left && n < width; n++)
		put(o, ' ');
}

static void
put_number(struct out *o, uint64_t n, bool minus, unsigned base, size_t width, bool left)
{
	char digits[24];
	size_t at = sizeof(digits);

	do
		digits[--at] = "0123456789abcdef"[n % base];
	while (n /= base);
	if (minus)
		digits[--at] = '-';
	put_text(o, digits + at, sizeof(digits) - at, width, left);
}

static size_t
length(const char *s, int most)
{
	size_t n = 0;

	while ((most < 0 || n < (size_t)most) && s[n])
		n++;
	return n;
}

/* One conversion, behind its %; where the format goes on. */
static const char *
convert(struct out *o, const char *fmt, va_list *ap)
{
	bool left = *fmt == '-', wide;
	size_t width = 0;
	const char *s;
	int most = -1;
	int64_t n;
	char c;

	for (fmt += left; *fmt >= '0' && *fmt <= '9'; fmt++)
		width = width * 10 + (size_t)(*fmt - '0');
	if (fmt[0] == '.' && fmt[1] == '*') {
		most = va_arg(*ap, int);
		fmt += 2;
	}
	wide = *fmt == 'l';
	fmt += wide;
	switch (*fmt) {
	case 's':
		s = va_arg(*ap, const char *);
		put_text(o, s, length(s, most), width, left);
		break;
	case 'c':
		c = (char)va_arg(*ap, int);
		put_text(o, &c, 1, width, left);
		break;
	case 'd':
		n = wide ? va_arg(*ap, int64_t) : va_arg(*ap, int);
		put_number(o, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, n < 0, 10, width, left);
		break;
	case 'u':
	case 'x':
		put_number(o, wide ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned), false,
			   *fmt == 'x' ? 16 : 10, width, left);
		break;
	default:
		put(o, *fmt);
	}
	return *fmt ? fmt + 1 : fmt;
}

int
vsnprintf(char *to, size_t size, const char *fmt, va_list ap)
{
	struct out o = { to, size, 0 };
	va_list copy;

	va_copy(copy, ap);
	while (*fmt)
		if (*fmt != '%')
			put(&o, *fmt++);
		else
			fmt = convert(&o, fmt + 1, &copy);
	va_end(copy);
	if (size)
		to[o.len < size ? o.len : size - 1] = '\0';
	return (int)o.len;
}

int
snprintf(char *to, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(to, size, fmt, ap);
	va_end(ap);
	return n;
}

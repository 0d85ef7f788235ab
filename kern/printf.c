/*
 * printf and friends: %d %i %u %x %X %p %s %c %% with h, hh, l, ll, z, width and precision (also
 * `*`), flags 0 and -. What it does not know it prints as %!, so that a mistake is seen.
 */
#include <kern/kern.h>

struct sink {
	char *buf; /* NULL: the console */
	size_t size, length;
};

struct spec {
	bool left, zero, upper;
	int width, precision; /* precision < 0: none given */
	int size;             /* bytes of the argument */
};

void (*printf_capture)(char c), (*printf_heard)(char c);

static void
put(struct sink *s, char c)
{
	if (!s->buf && printf_heard && !printf_capture)
		printf_heard(c);
	if (!s->buf && printf_capture)
		printf_capture(c);
	else if (!s->buf)
		console_putc(c);
	else if (s->length + 1 < s->size)
		s->buf[s->length] = c;
	s->length++;
}

static void
put_padded(struct sink *s, const struct spec *spec, const char *text, size_t length)
{
	size_t pad = (size_t)spec->width > length ? (size_t)spec->width - length : 0;

	if (spec->zero && !spec->left) {
		if (length && *text == '-') {
			put(s, *text++);
			length--;
		}
		for (; pad; pad--)
			put(s, '0');
	}
	for (; pad && !spec->left; pad--)
		put(s, ' ');
	for (; length; length--)
		put(s, *text++);
	for (; pad; pad--)
		put(s, ' ');
}

static void
put_number(struct sink *s, const struct spec *spec, uint64_t v, unsigned base, bool negative)
{
	const char *digits = spec->upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24];
	size_t at = sizeof(text);

	do
		text[--at] = digits[v % base];
	while (v /= base);
	if (negative)
		text[--at] = '-';
	put_padded(s, spec, text + at, sizeof(text) - at);
}

static void
put_string(struct sink *s, struct spec *spec, const char *text)
{
	size_t length = 0;

	if (!text)
		text = "(null)";
	while ((spec->precision < 0 || length < (size_t)spec->precision) && text[length])
		length++;
	spec->zero = false;
	put_padded(s, spec, text, length);
}

static int
number_or_star(const char **fmt, va_list *ap)
{
	int n = 0;

	if (**fmt == '*') {
		++*fmt;
		return va_arg(*ap, int);
	}
	while (**fmt >= '0' && **fmt <= '9')
		n = n * 10 + *(*fmt)++ - '0';
	return n;
}

/* Reads what stands between % and the conversion; returns where the conversion stands. */
static const char *
read_spec(const char *fmt, struct spec *spec, va_list *ap)
{
	*spec = (struct spec){ .precision = -1, .size = 4 };
	for (; *fmt == '0' || *fmt == '-'; fmt++) {
		spec->zero |= *fmt == '0';
		spec->left |= *fmt == '-';
	}
	spec->width = number_or_star(&fmt, ap);
	if (spec->width < 0) {
		spec->left = true;
		spec->width = -spec->width;
	}
	if (*fmt == '.') {
		fmt++;
		spec->precision = number_or_star(&fmt, ap);
	}
	/* h and hh need nothing: such arguments are passed as int. */
	for (; *fmt == 'l' || *fmt == 'z' || *fmt == 'h'; fmt++)
		if (*fmt != 'h')
			spec->size = 8;
	return fmt;
}

static void
put_conversion(struct sink *s, struct spec *spec, char conversion, va_list *ap)
{
	int64_t v;
	char c;

	switch (conversion) {
	case 'd':
	case 'i':
		v = spec->size == 8 ? va_arg(*ap, int64_t) : va_arg(*ap, int);
		put_number(s, spec, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, v < 0);
		break;
	case 'u':
	case 'x':
	case 'X':
		spec->upper = conversion == 'X';
		put_number(s, spec,
			   spec->size == 8 ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned int),
			   conversion == 'u' ? 10 : 16, false);
		break;
	case 'p':
		spec->zero = true;
		spec->width = 16;
		put_number(s, spec, (uint64_t)va_arg(*ap, void *), 16, false);
		break;
	case 's':
		put_string(s, spec, va_arg(*ap, const char *));
		break;
	case 'c':
		c = (char)va_arg(*ap, int);
		spec->zero = false;
		put_padded(s, spec, &c, 1);
		break;
	case '%':
		put(s, '%');
		break;
	default:
		put(s, '%');
		put(s, '!');
	}
}

static void
format(struct sink *s, const char *fmt, va_list *ap)
{
	struct spec spec;

	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(s, *fmt);
			continue;
		}
		fmt = read_spec(fmt + 1, &spec, ap);
		put_conversion(s, &spec, *fmt, ap);
		if (!*fmt)
			return;
	}
}

int
vprintf(const char *fmt, va_list ap)
{
	struct sink s = { 0 };
	va_list copy;

	va_copy(copy, ap); /* `ap` itself may be an array or a pointer here: C11 7.16 */
	format(&s, fmt, &copy);
	va_end(copy);
	return (int)s.length;
}

int
vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	char nothing;
	struct sink s = { .buf = size ? buf : &nothing, .size = size };
	va_list copy;

	va_copy(copy, ap);
	format(&s, fmt, &copy);
	va_end(copy);
	if (size)
		buf[s.length < size ? s.length : size - 1] = '\0';
	return (int)s.length;
}

int
printf(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vprintf(fmt, ap);
	va_end(ap);
	return n;
}

int
snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

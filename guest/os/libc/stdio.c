/* Formatted output: %d %u %x %s %c %%, and a width: %6d, %-6s, %08x. */
#include <guest/os/libc/user.h>

struct out {
	uint32_t n;
	char text[512];
};

struct field {
	int left;
	uint32_t width;
	char fill;
};

static void
add(struct out *o, char c)
{
	if (o->n < sizeof(o->text))
		o->text[o->n++] = c;
}

static void
add_field(struct out *o, const char *s, struct field f)
{
	size_t n = strlen(s);

	for (size_t i = n; !f.left && i < f.width; i++)
		add(o, f.fill);
	for (; *s; s++)
		add(o, *s);
	for (size_t i = n; f.left && i < f.width; i++)
		add(o, ' ');
}

static const char *
digits(uint32_t value, uint32_t base, int negative, char buffer[16])
{
	char *s = buffer + 15;

	*s = '\0';
	do
		*--s = "0123456789abcdef"[value % base];
	while (value /= base);
	if (negative)
		*--s = '-';
	return s;
}

static void
convert(struct out *o, char kind, struct field f, va_list *args)
{
	char buffer[16] = { 0 };
	const char *s = buffer;
	int d;

	if (kind == 's') {
		s = va_arg(*args, const char *);
	} else if (kind == 'd') {
		d = va_arg(*args, int);
		s = digits(d < 0 ? 0 - (uint32_t)d : (uint32_t)d, 10, d < 0, buffer);
	} else if (kind == 'u' || kind == 'x') {
		s = digits(va_arg(*args, uint32_t), kind == 'u' ? 10 : 16, 0, buffer);
	} else {
		buffer[0] = kind == 'c' ? (char)va_arg(*args, int) : kind;
	}
	add_field(o, s, f);
}

static void
format_text(struct out *o, const char *s, va_list *args)
{
	for (; *s; s++) {
		struct field f = { .fill = ' ' };

		if (*s != '%' || !s[1]) {
			add(o, *s);
			continue;
		}
		s++;
		if (*s == '-')
			f.left = 1, s++;
		if (*s == '0')
			f.fill = '0', s++;
		for (; *s >= '0' && *s <= '9'; s++)
			f.width = f.width * 10 + (uint32_t)(*s - '0');
		convert(o, *s, f, args);
	}
}

void
printf(const char *format, ...)
{
	struct out o = { 0 };
	va_list args;

	va_start(args, format);
	format_text(&o, format, &args);
	va_end(args);
	write(1, o.text, o.n);
}

void
fail(const char *format, ...)
{
	struct out o = { 0 };
	va_list args;

	va_start(args, format);
	format_text(&o, format, &args);
	va_end(args);
	add(&o, '\n');
	write(2, o.text, o.n);
	exit(1);
}

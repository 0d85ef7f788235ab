/*
 * The library's C: printing by console_io, machine frames, handlers.
 */
#include <guest/pv/lib/pv.h>

const struct xen_start_info *pv_info;
void (*pv_handler)(struct pv_frame *f);
void pv_trapped(struct pv_frame *f);

/* Compilers call these for themselves. */
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);

void *
memcpy(void *to, const void *from, size_t len)
{
	void *end = to;

	__asm__ volatile("rep movsb" : "+D"(end), "+S"(from), "+c"(len) : : "memory");
	return to;
}

void *
memset(void *to, int byte, size_t len)
{
	void *end = to;

	__asm__ volatile("rep stosb" : "+D"(end), "+c"(len) : "a"(byte) : "memory");
	return to;
}

void
pv_init(const struct xen_start_info *info)
{
	pv_info = info;
}

bool
pv_is_dom0(void)
{
	return pv_info->flags & XEN_SIF_INITDOMAIN;
}

int64_t
pv_call_by_page(unsigned number, uint64_t a, uint64_t b, uint64_t c)
{
	int64_t result;

	__asm__ volatile("call *%[stub]"
			 : "=a"(result), "+D"(a), "+S"(b), "+d"(c)
			 : [stub] "r"(hypercall_page + number * 32)
			 : "memory", "r10", "r8", "r9");
	return result;
}

int64_t
pv_update(uint64_t at, uint64_t entry)
{
	const struct xen_mmu_update update = { at, entry };

	return pv_call(XEN_mmu_update, (uint64_t)&update, 1, 0, XEN_DOMID_SELF);
}

int64_t
pv_mmuext(unsigned cmd, uint64_t arg)
{
	const struct xen_mmuext_op op = { .cmd = cmd, .arg1 = arg };

	return pv_call(XEN_mmuext_op, (uint64_t)&op, 1, 0, XEN_DOMID_SELF);
}

static void
put(const char *text, size_t len)
{
	pv_call(XEN_console_io, XEN_CONSOLEIO_write, len, (uint64_t)text, 0);
}

void
pv_print(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	put(text, len);
}

static void
number(char **at, uint64_t n, unsigned base)
{
	char digits[24];
	unsigned count = 0;

	do
		digits[count++] = "0123456789abcdef"[n % base];
	while (n /= base);
	while (count)
		*(*at)++ = digits[--count];
}

/* A line at a time, so that another guest's does not come between. */
void
pv_printf(const char *fmt, ...)
{
	char line[400], *at = line;
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt && at < line + 300; fmt++) {
		bool is_long = fmt[0] == '%' && fmt[1] == 'l';
		const char *s;
		int64_t n;

		if (*fmt != '%') {
			*at++ = *fmt;
			continue;
		}
		fmt += 1 + is_long;
		switch (*fmt) {
		case 's':
			for (s = va_arg(ap, const char *); *s && at < line + 300; s++)
				*at++ = *s;
			break;
		case 'd':
			n = is_long ? va_arg(ap, int64_t) : va_arg(ap, int);
			if (n < 0)
				*at++ = '-';
			number(&at, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 10);
			break;
		default: /* u, x */
			number(&at, is_long ? va_arg(ap, uint64_t) : va_arg(ap, unsigned),
			       *fmt == 'x' ? 16 : 10);
		}
	}
	va_end(ap);
	put(line, (size_t)(at - line));
}

/* Code 0 is the orderly end; any other one is told as a crash. */
void
pv_exit(int code)
{
	uint32_t reason = code ? XEN_SHUTDOWN_crash : XEN_SHUTDOWN_poweroff;

	for (;;)
		pv_call(XEN_sched_op, XEN_SCHEDOP_shutdown, (uint64_t)&reason, 0, 0);
}

unsigned
pv_number(const char *name)
{
	unsigned n = 0;

	for (const char *words = pv_info->cmd_line; *words; words++) {
		const char *a = words, *b = name;

		while (*b && *a == *b)
			a++, b++;
		if (*b)
			continue;
		while (*a >= '0' && *a <= '9')
			n = n * 10 + (unsigned)(*a++ - '0');
		return n;
	}
	return 0;
}

void
pv_trapped(struct pv_frame *f)
{
	if (pv_handler) {
		pv_handler(f);
		return;
	}
	pv_printf("exception %lu, error code %lx, at %lx\n", f->vector, f->error, f->rip);
	pv_exit(1);
}

extern const uint64_t pv_handlers[21]; /* start.asm: 0 to 19, and 128 */

void
pv_take_traps(void)
{
	static struct xen_trap_info traps[22];

	for (unsigned n = 0; n < 21; n++)
		traps[n] = (struct xen_trap_info){ .vector = (uint8_t)(n < 20 ? n : 128),
						   .flags = 3,
						   .cs = XEN_FLAT_CS64,
						   .address = pv_handlers[n] };
	pv_call(XEN_set_trap_table, (uint64_t)traps, 0, 0, 0);
}

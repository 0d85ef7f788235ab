#include <guest/lib/guest.h>

/* NS PC16550D data sheet: the registers of COM1. */
#define COM1     0x3f8
#define UART_IER (COM1 + 1)
#define UART_FCR (COM1 + 2)
#define UART_LCR (COM1 + 3)
#define UART_MCR (COM1 + 4)
#define UART_LSR (COM1 + 5)
#define LCR_8N1  0x03
#define LCR_DLAB 0x80
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define QEMU_DEBUG_EXIT 0xf4
#define BOCHS_SHUTDOWN  0x8900

/* The BIOS of Bochs leaves the line at five data bits, so nothing is taken for granted. */
void
console_init(void)
{
	outb(UART_IER, 0);
	outb(UART_LCR, LCR_DLAB | LCR_8N1);
	outb(COM1, 1); /* 115200 baud */
	outb(UART_IER, 0);
	outb(UART_LCR, LCR_8N1);
	outb(UART_FCR, 7);
	outb(UART_MCR, 3);
}

void
put(char c)
{
	while (!(inb(UART_LSR) & LSR_THRE))
		;
	outb(COM1, (uint8_t)c);
}

void
print(const char *s)
{
	while (*s)
		put(*s++);
}

void
print_hex(uint32_t value)
{
	for (int shift = 28; shift >= 0; shift -= 4)
		put("0123456789abcdef"[value >> shift & 15]);
}

/* Multiboot 0.6.96 section 3.3: flags bit 2 says that the word at offset 16 is the command line. */
const char *
option(const uint32_t *info, const char *key)
{
	const char *s = info[0] & 4 ? (const char *)info[4] : "";

	for (; *s; s++) {
		const char *k = key, *p = s;

		while (*k && *p == *k)
			p++, k++;
		if (!*k && *p == '=')
			return p + 1;
	}
	return NULL;
}

int
option_is(const char *value, const char *word)
{
	if (!value)
		return 0;
	while (*word && *value == *word)
		value++, word++;
	return !*word && (*value == ' ' || !*value);
}

void
guest_exit(uint32_t code)
{
	outb(QEMU_DEBUG_EXIT, code);
	while (!(inb(UART_LSR) & LSR_TEMT)) /* Bochs loses what is still on its way */
		;
	for (const char *s = "Shutdown"; *s; s++)
		outb(BOCHS_SHUTDOWN, *s);
	halt();
}

void *
memcpy(void *dst, const void *src, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)dst)[i] = ((const uint8_t *)src)[i];
	return dst;
}

void *
memset(void *dst, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)dst)[i] = c;
	return dst;
}

/*
 * The console: COM1 and the screen out, COM1 and the keyboard in, and the side channel.
 *
 * Input is polled: by the main loop between turns, and after each tick when idle. An interrupt
 * would only save up to 10 ms of a person's time, and COM1 holds 16 bytes meanwhile.
 *
 * PC16550D = National Semiconductor PC16550D data sheet, June 1995.
 */
#include <kern/console/console.h>
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/trap.h>

/* COM1: PC16550D 8.0 "Registers" */
#define COM1           0x3f8
#define UART_DATA      (COM1 + 0)
#define UART_IER       (COM1 + 1)
#define UART_FCR       (COM1 + 2)
#define UART_LCR       (COM1 + 3)
#define UART_MCR       (COM1 + 4)
#define UART_LSR       (COM1 + 5)
#define UART_SCRATCH   (COM1 + 7)
#define FCR_ENABLE     0x01
#define FCR_RESET_BOTH 0x06
#define LCR_8N1        0x03
#define LCR_DLAB       0x80
#define MCR_DTR_RTS    0x03
#define LSR_DATA_READY 0x01
#define LSR_THRE       0x20
#define DIVISOR_115200 1
#define IER_RECEIVED   0x01
#define MCR_OUT2       0x08   /* the way to the 8259 */
#define UART_PATIENCE  200000 /* polls of the LSR before a byte is given up */
#define SIDE_PORT      0xe9

#define UART_IRQ 4
#define KBC_IRQ  1

static bool uart_there;

static void
uart_init(void)
{
	outb(UART_SCRATCH, 0x5a);
	uart_there = inb(UART_SCRATCH) == 0x5a;
	outb(UART_IER, 0);
	outb(UART_LCR, LCR_DLAB);
	outb(UART_DATA, DIVISOR_115200);
	outb(UART_IER, 0); /* the divisor's high byte while DLAB is set */
	outb(UART_LCR, LCR_8N1);
	outb(UART_FCR, FCR_ENABLE | FCR_RESET_BOTH);
	outb(UART_MCR, MCR_DTR_RTS);
}

static void
uart_putc(int c)
{
	unsigned patience = UART_PATIENCE;

	if (!uart_there)
		return;
	/* Bochs drops a byte that is written while THRE is 0. */
	while (!(inb(UART_LSR) & LSR_THRE))
		if (!--patience)
			return;
	outb(UART_DATA, (uint8_t)c);
}

static int
uart_getc(void)
{
	if (!uart_there || !(inb(UART_LSR) & LSR_DATA_READY))
		return -1;
	return inb(UART_DATA);
}

void
console_init(void)
{
	uart_init();
	screen_init();
}

void
console_putc(int c)
{
	uart_putc(c);
	screen_putc(c);
}

int
console_getc(void)
{
	int c;

	screen_show_cursor();
	c = uart_getc();
	return c >= 0 ? c : keyboard_getc();
}

void
side_printf(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (const char *s = line; *s; s++)
		outb(SIDE_PORT, (uint8_t)*s);
}

/* The character stays in the device until the monitor looks. */
static void
typed(void *arg)
{
}

void
console_interrupts(void)
{
	irq_register(KBC_IRQ, typed, NULL);
	if (!uart_there)
		return;
	irq_register(UART_IRQ, typed, NULL);
	outb(UART_IER, IER_RECEIVED);
	outb(UART_MCR, MCR_DTR_RTS | MCR_OUT2);
}

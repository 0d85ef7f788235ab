/*
 * The platform of a classic domain: COM1, two 8259s, an 8254, the clock and CMOS memory, and the debug exit, on the
 * I/O bus. The clock's interrupt is not wired: IRQ 8 stays quiet, and its flags are polled.
 */
#include <vmm/dev/io.h>
#include <vmm/dev/platform.h>
#include <vmm/domain.h>

#define POLLS_OF_A_LISTENER 100

static void
uart_tx(void *ctx, uint8_t byte)
{
	domain_putc(ctx, byte);
}

static uint8_t
uart_port_read(struct domain *d, uint16_t port)
{
	int c;

	/*
	 * A guest that asks again and again whether a character has come, and does nothing else with its UART, waits for one
	 * (see also platform_lines()). One that drains its buffer at start, or waits before it writes, asks once or twice.
	 */
	if (port == UART_COM1_BASE + UART_LSR && !d->uart.rx_count &&
	    ++d->uart_polls > POLLS_OF_A_LISTENER && (c = domain_input(d)) >= 0) {
		d->uart_polls = 0;
		uart_receive(&d->uart, (uint8_t)c);
	}
	return uart_read(&d->uart, port - UART_COM1_BASE);
}

static void
uart_port_write(struct domain *d, uint16_t port, uint8_t value)
{
	struct uart_host host = { .tx = uart_tx, .ctx = d };

	d->uart_polls = 0;

	uart_write(&d->uart, port - UART_COM1_BASE, value, &host);
}

static uint8_t
pic_port_read(struct domain *d, uint16_t port)
{
	return pic_read(&d->pic, port);
}

static void
pic_port_write(struct domain *d, uint16_t port, uint8_t value)
{
	pic_write(&d->pic, port, value);
}

static uint8_t
pit_port_read(struct domain *d, uint16_t port)
{
	return pit_read(&d->pit, port, domain_now(d));
}

static void
pit_port_write(struct domain *d, uint16_t port, uint8_t value)
{
	pit_write(&d->pit, port, value, domain_now(d));
}

static uint8_t
rtc_port_read(struct domain *d, uint16_t port)
{
	return rtc_read(&d->rtc, port, domain_now(d));
}

static void
rtc_port_write(struct domain *d, uint16_t port, uint8_t value)
{
	rtc_write(&d->rtc, port, value, domain_now(d));
}

/* QEMU's isa-debug-exit: any write ends the machine; the value is the guest's exit code. */
static void
debug_exit(struct domain *d, uint16_t port, uint8_t value)
{
	(void)port;
	domain_exit(d, value);
}

const struct io_range io_ranges[] = {
	{ 0x20, 2, "pic", pic_port_read, pic_port_write },
	{ 0x40, 4, "pit", pit_port_read, pit_port_write },
	{ 0x61, 1, "pit", pit_port_read, pit_port_write },
	{ RTC_INDEX, 2, "rtc", rtc_port_read, rtc_port_write },
	{ 0xa0, 2, "pic", pic_port_read, pic_port_write },
	{ 0xf4, 1, "debug exit", NULL, debug_exit },
	{ 0x3f8, 8, "uart", uart_port_read, uart_port_write },
	{ 0x4d0, 2, "pic", pic_port_read, pic_port_write },
	{ 0, 0, NULL, NULL, NULL },
};

/*
 * What of a PC KVM leaves to its program: COM1, the clock with its CMOS, the keyboard's controller.
 * They are Zeno's own sources, vmm/dev/, so that a guest finds the same machine.
 */
#include <asm/unistd.h>
#include <linux/time.h>
#include <trials/peers/peer.h>
#include <vmm/dev/i8042.h>
#include <vmm/dev/rtc.h>
#include <vmm/dev/uart.h>

#define NOBODY 0xff
#define SECOND 1000000000ul

static struct uart uart;
static struct rtc rtc;
static struct i8042 i8042;
static long vm;
static uint32_t told; /* the level of COM1's line that KVM knows */
static char line[256];
static size_t used;

void
pc_flush(void)
{
	say(line, used);
	used = 0;
}

static void
send(void *ctx, uint8_t byte)
{
	(void)ctx;
	line[used++] = (char)byte;
	if (byte == '\n' || used == sizeof(line))
		pc_flush();
}

static uint64_t
now(void)
{
	struct __kernel_timespec t;

	good(call3(__NR_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0), "clock_gettime");
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

void
pc_init(long machine, uint64_t ram)
{
	vm = machine;
	uart_init(&uart);
	uart.lcr = UART_LCR_BITS; /* as firmware leaves it */
	rtc_init(&rtc, ram, now());
	i8042_init(&i8042);
}

static uint8_t
read_byte(uint16_t port)
{
	switch (port) {
	case UART_COM1_BASE ... UART_COM1_BASE + 7:
		return uart_read(&uart, port - UART_COM1_BASE);
	case RTC_INDEX ... RTC_DATA:
		return rtc_read(&rtc, port, now());
	case I8042_DATA:
	case I8042_STATUS:
	case FAST_A20:
		return i8042_read(&i8042, port);
	default:
		return NOBODY;
	}
}

/* Whether the machine goes on. */
static int
write_byte(uint16_t port, uint8_t value)
{
	static const struct uart_host host = { .tx = send };

	switch (port) {
	case UART_COM1_BASE ... UART_COM1_BASE + 7:
		uart_write(&uart, port - UART_COM1_BASE, value, &host);
		break;
	case RTC_INDEX ... RTC_DATA:
		rtc_write(&rtc, port, value, now());
		break;
	case I8042_DATA:
	case I8042_STATUS:
	case FAST_A20:
		return !i8042_write(&i8042, port, value);
	default:
		break;
	}
	return 1;
}

/*
 * All devices take bytes: a wider access comes in parts, as on an ISA bus. Whether the machine goes
 * on: a reset is its end.
 */
int
pc_port(struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	int goes_on = 1;
	struct kvm_irq_level irq = { .irq = UART_COM1_IRQ };

	for (uint32_t n = 0; n < run->io.count * run->io.size; n++) {
		uint16_t port = (uint16_t)(run->io.port + n % run->io.size);

		if (run->io.direction == KVM_EXIT_IO_IN)
			data[n] = read_byte(port);
		else
			goes_on &= write_byte(port, data[n]);
	}
	irq.level = uart_irq(&uart);
	if (irq.level != told)
		kvm(vm, KVM_IRQ_LINE, &irq, "KVM_IRQ_LINE");
	told = irq.level;
	return goes_on;
}

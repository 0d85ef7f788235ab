/*
 * The device model: a PC's devices as a program in ring 3 (inc/user.h says how it is asked).
 *
 * The devices are the kernel's own sources, vmm/dev/. What stands here is what vmm/dev/pc.c is
 * there: which ports are whose, and how lines come from devices and time. The 8259s alone are
 * Zeno's.
 */
#include <stdbool.h>

#include <inc/compiler.h>
#include <inc/errno.h>
#include <user/dm/disk.h>
#include <user/lib/user.h>
#include <vmm/dev/crtc.h>
#include <vmm/dev/i8042.h>
#include <vmm/dev/pit.h>
#include <vmm/dev/rtc.h>
#include <vmm/dev/uart.h>

#define DEBUG_EXIT          0xf4
#define PIT_IRQ             0
#define PIT_BACKLOG         16  /* as in vmm/dev/pc.c */
#define POLLS_OF_A_LISTENER 100 /* as there */
#define NOBODY              (-1)
#define BELL                0x300 /* a write rings; there are the rings that it knows of, modulo 256 */

#define COUNTER_BASE         0xfed00000ul
#define COUNTER_SIZE         0x400
#define COUNTER_ID           0x00
#define COUNTER_CONTROL      0x10
#define COUNTER_COUNT        0xf0
#define NS_PER_COUNT         10
#define COUNTER_FEMTOSECONDS 10000000ul   /* a count takes */
#define COUNTER_WORDS        0x80862001ul /* Intel's; 64 bits wide; revision 1 */

static struct uart uart;
static struct pit pit;
static struct rtc rtc;
static struct i8042 i8042;
static struct crtc crtc;

static uint64_t rings;             /* of BELL */
static uint64_t pit_told;          /* edges of the 8254 that line 0 has had */
static uint64_t pit_next;          /* when there will be another one */
static unsigned uart_polls;        /* of its line status, one after the other */
static bool uart_level, key_level; /* of their lines, as Zeno was told */
static bool keyless;               /* nobody types at the keyboard */
static uint64_t key_next;          /* no key comes before that time */
static unsigned key_polls;         /* of its controller's status, one after the other */
static bool key_stirs;             /* keyboard_line() may find something new though nobody asks */

static void
send(void *ctx, uint8_t byte)
{
	user_call(USER_SEND, byte, 0);
}

static int
received(void)
{
	return (int)user_call(USER_RECEIVE, 0, 0);
}

static uint8_t
i8042_port_read(uint16_t port)
{
	key_polls = port == I8042_STATUS ? key_polls + 1 : 0;
	key_stirs = true;
	return i8042_read(&i8042, port);
}

static int
uart_port_read(uint16_t port)
{
	int c;

	if (port == UART_COM1_BASE + UART_LSR && !uart.rx_count &&
	    ++uart_polls > POLLS_OF_A_LISTENER && (c = received()) >= 0) {
		uart_polls = 0;
		uart_receive(&uart, (uint8_t)c);
	}
	return uart_read(&uart, port - UART_COM1_BASE);
}

static void
uart_port_write(uint16_t port, uint8_t value)
{
	static const struct uart_host host = { .tx = send };

	uart_polls = 0;
	uart_write(&uart, port - UART_COM1_BASE, value, &host);
}

/* A byte's worth of ports; NOBODY: no device has this one. */
static int
byte_read(uint16_t port, uint64_t now)
{
	switch (port) {
	case UART_COM1_BASE ... UART_COM1_BASE + 7:
		return uart_port_read(port);
	case PIT_BASE ... PIT_CONTROL:
	case PIT_PORT_B:
		return pit_read(&pit, port, now);
	case I8042_DATA:
	case I8042_STATUS:
	case FAST_A20:
		return i8042_port_read(port);
	case RTC_INDEX ... RTC_INDEX + 1:
		return rtc_read(&rtc, port, now);
	case CRTC_INDEX ... CRTC_DATA:
	case CRTC_STATUS:
		return crtc_read(&crtc, port);
	case BELL:
		return (uint8_t)rings;
	default:
		return NOBODY;
	}
}

static void
i8042_port_write(uint16_t port, uint8_t value)
{
	const char *why = i8042_write(&i8042, port, value);

	key_polls = 0;
	key_stirs = true;
	if (why)
		user_call(USER_STOP, (uint64_t)why, strlen(why));
}

static int
byte_write(uint16_t port, uint8_t value, uint64_t now)
{
	switch (port) {
	case UART_COM1_BASE ... UART_COM1_BASE + 7:
		uart_port_write(port, value);
		return 0;
	case PIT_BASE ... PIT_CONTROL:
	case PIT_PORT_B:
		pit_write(&pit, port, value, now);
		pit_next = 0; /* to be looked at */
		return 0;
	case I8042_DATA:
	case I8042_STATUS:
	case FAST_A20:
		i8042_port_write(port, value);
		return 0;
	case RTC_INDEX ... RTC_INDEX + 1:
		rtc_write(&rtc, port, value, now);
		return 0;
	case CRTC_INDEX ... CRTC_DATA:
		crtc_write(&crtc, port, value);
		return 0;
	case DEBUG_EXIT:
		user_call(USER_END, value, 0);
		return 0;
	default:
		return NOBODY;
	}
}

/* Devices take bytes: a wider access comes in parts. Whether one of them is somebody's. */
static bool
read_port(uint16_t port, unsigned size, uint64_t now, uint32_t *value)
{
	bool some = false;
	int byte;

	*value = 0;
	for (unsigned i = 0; i < size; i++) {
		byte = byte_read((uint16_t)(port + i), now);
		some |= byte != NOBODY;
		*value |= (uint32_t)(uint8_t)byte << 8 * i;
	}
	return some;
}

static bool
write_port(uint16_t port, unsigned size, uint64_t now, uint32_t value)
{
	bool some = false;

	for (unsigned i = 0; i < size; i++)
		some |= byte_write((uint16_t)(port + i), (uint8_t)(value >> 8 * i), now) != NOBODY;
	return some;
}

/*
 * One edge is remembered of line 0: the next one comes when it has been served, as in vmm/dev/pc.c.
 */
static void
pit_line(uint64_t now)
{
	uint64_t edges = pit_edge_count(&pit, now);

	if (edges != pit_told && !user_call(USER_IRQ_LINE, PIT_IRQ, 1)) {
		pit_told++;
		if (edges - pit_told > PIT_BACKLOG)
			pit_told = edges - PIT_BACKLOG;
		user_call(USER_IRQ_LINE, PIT_IRQ, 0);
		user_call(USER_IRQ_LINE, PIT_IRQ, 1);
	}
	pit_next = pit_next_irq0(&pit, now);
}

static void
uart_line(void)
{
	bool level;
	int c;

	while (uart.ier & UART_IER_RX && uart_room(&uart) && (c = received()) >= 0)
		uart_receive(&uart, (uint8_t)c);
	level = uart_irq(&uart);
	if (level != uart_level)
		user_call(USER_IRQ_LINE, UART_COM1_IRQ, level);
	uart_level = level;
}

static void
key_line(void)
{
	if (i8042_irq(&i8042) != key_level)
		user_call(USER_IRQ_LINE, I8042_IRQ, !key_level);
	key_level = i8042_irq(&i8042);
}

/*
 * As in vmm/dev/pc.c; but the 8259s are Zeno's: who only lets IRQ 1 through has no keys, and after
 * an EOI the next byte's edge comes at once. Returns when there may be another key.
 */
static APART uint64_t
keyboard_line(uint64_t now)
{
	bool listens = i8042.keyboard.enabled || key_polls > POLLS_OF_A_LISTENER;
	int64_t c;

	if (!keyless && listens && now >= key_next && i8042_takes_keys(&i8042)) {
		c = user_call(USER_RECEIVE, 1, 0);
		keyless = c == -ENODEV;
		if (c >= 0)
			i8042_type(&i8042, (uint8_t)c);
		key_next = now + I8042_KEY_NS;
	}
	key_line();
	i8042_update(&i8042);
	key_line();
	key_stirs = (listens && !keyless) || !i8042_is_idle(&i8042);
	return !keyless && i8042.keyboard.enabled && i8042_takes_keys(&i8042) ? key_next
									      : RUN_NEVER;
}

/*
 * Registers in memory: a counter of 100 MHz, as the main counter of an HPET (IA-PC HPET 1.0a,
 * 2.3), which has no timers. It runs from the start on, and nothing here can be written.
 */
static bool
read_register(uint64_t at, uint64_t now, uint32_t *value)
{
	uint64_t whole, count = now / NS_PER_COUNT;

	if (at < COUNTER_BASE || at >= COUNTER_BASE + COUNTER_SIZE)
		return false;
	switch ((at - COUNTER_BASE) & ~7ul) {
	case COUNTER_ID:
		whole = COUNTER_FEMTOSECONDS << 32 | COUNTER_WORDS;
		break;
	case COUNTER_CONTROL:
		whole = 1; /* it runs */
		break;
	case COUNTER_COUNT:
		whole = count;
		break;
	default:
		whole = 0;
	}
	*value = (uint32_t)(whole >> 8 * (at & 7));
	return true;
}

static void
init(const struct run_page *run)
{
	uart_init(&uart);
	uart.lcr = UART_LCR_BITS; /* eight data bits, as firmware leaves it */
	pit_init(&pit, run->now);
	rtc_init(&rtc, run->ram, run->now);
	i8042_init(&i8042);
	disk_init();
	pit_told = pit_edge_count(&pit, run->now);
	user_call(USER_BELL, BELL, 0);
}

static void
answer(struct run_page *run)
{
	uint64_t now = run->now, key;

	rings = run->rings;
	switch (run->reason) {
	case RUN_PORT_WRITE:
		run->done = write_port(run->port, run->size, now, run->data_out) ||
			    disk_write(run->port, run->size, run->data_out);
		break;
	case RUN_PORT_READ:
		run->done = read_port(run->port, run->size, now, &run->data_in) ||
			    disk_read(run->port, run->size, &run->data_in);
		break;
	case RUN_MMIO_READ:
		run->done = read_register(run->address, now, &run->data_in);
		break;
	case RUN_MMIO_WRITE:
		run->done = run->address - COUNTER_BASE < COUNTER_SIZE;
		break;
	default:
		run->done = 0;
		break;
	}
	if (now >= pit_next)
		pit_line(now);
	if (uart.mcr & UART_MCR_OUT2 || uart_level)
		uart_line();
	key = key_stirs ? keyboard_line(now) : RUN_NEVER;
	run->deadline = key < pit_next ? key : pit_next;
}

/*
 * A string is answered element by element: whether there is another one to be taken, in its place.
 */
static APART bool
next_element(struct run_page *run)
{
	static uint32_t taken;

	taken += run->done;
	if (run->done && taken < run->count) {
		memcpy(&run->data_out, run->string + taken * run->size, run->size);
		return true;
	}
	run->done = taken;
	taken = 0;
	return false;
}

int
user_main(void)
{
	struct run_page *run = RUN_PAGE;

	init(run);
	for (;;) {
		answer(run);
		if (run->count > 1 && next_element(run))
			continue;
		user_call(USER_RUN, 0, 0);
	}
}

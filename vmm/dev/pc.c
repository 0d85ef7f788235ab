/*
 * The platform `pc`, a classic PC: COM1, two 8259s, an 8254, the clock and CMOS memory, a keyboard
 * controller, the registers of a text display, and the debug exit, on the I/O bus. The clock's
 * interrupt is not wired: IRQ 8 stays quiet, and its flags are polled.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/dev/io.h>
#include <vmm/dev/pc.h>
#include <vmm/dev/platform.h>

#define POLLS_OF_A_LISTENER 100
#define PIT_IRQ             0
#define PIT_BACKLOG         16 /* edges that a late guest still gets; older ones are lost */

SET_DECLARE(pc_lines);

static void
uart_tx(void *ctx, uint8_t byte)
{
	domain_putc(ctx, byte);
}

static uint32_t
uart_port_read(struct domain *d, uint16_t port, unsigned size)
{
	struct pc *pc = pc_of(d);
	int c;

	/*
	 * A guest that asks again and again whether a character has come, and does nothing else
	 * with its UART, waits for one (see also platform_lines()). One that drains its buffer at
	 * start, or waits before it writes, asks once or twice; one that has said its prompt
	 * listens.
	 */
	if (port == UART_COM1_BASE + UART_LSR && !pc->uart.rx_count &&
	    ++pc->uart_polls > (d->input_awaited ? 0 : POLLS_OF_A_LISTENER) &&
	    (c = domain_input(d)) >= 0) {
		pc->uart_polls = 0;
		uart_receive(&pc->uart, (uint8_t)c);
	}
	return uart_read(&pc->uart, port - UART_COM1_BASE);
}

static void
uart_port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	struct uart_host host = { .tx = uart_tx, .ctx = d };

	pc_of(d)->uart_polls = 0;
	uart_write(&pc_of(d)->uart, port - UART_COM1_BASE, (uint8_t)value, &host);
}

/* A device of bytes behind its ports; what else its functions take stands behind its name. */
#define BYTE_PORTS(device, ...)                                                            \
	static uint32_t device##_port_read(struct domain *d, uint16_t port, unsigned size) \
	{                                                                                  \
		return device##_read(&pc_of(d)->device, port, ##__VA_ARGS__);              \
	}                                                                                  \
	static void device##_port_write(struct domain *d, uint16_t port, unsigned size,    \
					uint32_t value)                                    \
	{                                                                                  \
		pc_of(d)->pit_next = 0; /* the 8254 may be written to */                   \
		device##_write(&pc_of(d)->device, port, (uint8_t)value, ##__VA_ARGS__);    \
	}
BYTE_PORTS(pit, domain_now(d))
BYTE_PORTS(rtc, domain_now(d))
BYTE_PORTS(crtc)

/* The mask is what it was; requests come with time, and a poll acknowledges one. */
static uint32_t
pic_port_read(struct domain *d, uint16_t port, unsigned size)
{
	struct pic *pic = &pc_of(d)->pic;

	if (port & 1 && !(pic->chip[0].poll | pic->chip[1].poll))
		d->changed = CHANGED_NOTHING;
	return pic_read(pic, port);
}

static void
pic_port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	pic_write(&pc_of(d)->pic, port, (uint8_t)value);
}

/* What is typed at the keyboard, a key at a time. */
static void
type(struct pc *pc)
{
	uint64_t now = domain_now(pc->domain);
	int c;

	if (now < pc->key_next || !i8042_takes_keys(&pc->i8042))
		return;
	c = domain_key(pc->domain);
	if (c < 0)
		return;
	i8042_type(&pc->i8042, (uint8_t)c);
	pc->key_next = now + I8042_KEY_NS;
}

/* Who polls the status, and does nothing else, listens: as of the UART. */
static uint32_t
i8042_port_read(struct domain *d, uint16_t port, unsigned size)
{
	struct pc *pc = pc_of(d);

	pc->key_stirs = true;
	if (d->keyboard && port == I8042_STATUS && i8042_is_idle(&pc->i8042) &&
	    ++pc->key_polls > (d->input_awaited ? 0 : POLLS_OF_A_LISTENER))
		type(pc);
	if (port == I8042_DATA) {
		pc->key_polls = 0;
		pc->key_taken = true;
	}
	return i8042_read(&pc->i8042, port);
}

static void
i8042_port_write(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	const char *why = i8042_write(&pc_of(d)->i8042, port, (uint8_t)value);

	pc_of(d)->key_polls = 0;
	pc_of(d)->key_stirs = true;
	d->reset = why;
	if (why)
		domain_stop(d, "%s, by port %x", why, port);
}

/* QEMU's isa-debug-exit: any write ends the machine; the value is the guest's exit code. */
static void
debug_exit(struct domain *d, uint16_t port, unsigned size, uint32_t value)
{
	domain_exit(d, value & 0xff);
}

const struct io_range pc_ports[] = {
	{ 0x20, 2, 1, "pic", pic_port_read, pic_port_write },
	{ 0x40, 4, 1, "pit", pit_port_read, pit_port_write },
	{ 0x61, 1, 1, "pit", pit_port_read, pit_port_write },
	{ I8042_DATA, 1, 1, "i8042", i8042_port_read, i8042_port_write },
	{ I8042_STATUS, 1, 1, "i8042", i8042_port_read, i8042_port_write },
	{ RTC_INDEX, 2, 1, "rtc", rtc_port_read, rtc_port_write },
	{ FAST_A20, 1, 1, "i8042", i8042_port_read, i8042_port_write },
	{ 0xa0, 2, 1, "pic", pic_port_read, pic_port_write },
	{ 0xf4, 1, 1, "debug exit", NULL, debug_exit },
	{ CRTC_INDEX, 2, 1, "crtc", crtc_port_read, crtc_port_write },
	{ CRTC_STATUS, 1, 1, "crtc", crtc_port_read, NULL },
	{ 0x3f8, 8, 1, "uart", uart_port_read, uart_port_write },
	{ 0x4d0, 2, 1, "pic", pic_port_read, pic_port_write },
	{ 0 },
};

static bool
pic_waits(struct pc *pc)
{
	return pc->pic.chip[0].irr & 1 << PIT_IRQ;
}

static void
pic_pulse(struct pc *pc)
{
	pic_set_irq(&pc->pic, PIT_IRQ, false);
	pic_set_irq(&pc->pic, PIT_IRQ, true);
}

const struct pc_wire pc_classic = { pic_waits, pic_pulse };

/* Each rising edge of the 8254's channel 0 since we last looked is a pulse on line 0. */
static void
pit_line(struct pc *pc)
{
	uint64_t now = pc->now, edges;

	if (now < pc->pit_next)
		return;
	edges = pit_edge_count(&pc->pit, now);
	/* One edge is remembered of each line: the next one comes when it has been served. */
	if (edges != pc->pit_edges && !pc->wire->waits(pc)) {
		pc->pit_edges++;
		if (edges - pc->pit_edges > PIT_BACKLOG)
			pc->pit_edges = edges - PIT_BACKLOG;
		pc->wire->pulse(pc);
	}
	if (edges == pc->pit_edges)
		pc->pit_next = pit_next_irq0(&pc->pit, now);
}
PC_LINE(pit_line);

/*
 * A kernel that has its interrupt let through, or has asked for keys, has them. Between two bytes
 * the line is seen low once, for edges.
 */
static void
keyboard_line(struct pc *pc)
{
	struct i8042 *k = &pc->i8042;

	if (!pc->key_stirs)
		return;
	if (pc->domain->keyboard &&
	    (k->keyboard.enabled || !(pc->pic.chip[0].imr & 1 << I8042_IRQ)))
		type(pc);
	if (!pc->key_taken)
		i8042_update(k);
	pc->key_taken = false;
	pic_set_irq(&pc->pic, I8042_IRQ, i8042_irq(k));
	pc->key_stirs = pc->domain->keyboard || !i8042_is_idle(k);
}
PC_LINE(keyboard_line);

void
pc_update_lines(struct domain *d)
{
	pc_of(d)->now = domain_now(d);
	set_foreach (const struct pc_line *, line, pc_lines)
		line->update(pc_of(d));
}

/* The 8259's INTR is wired to the first CPU. */
static bool
pc_pending(struct vcpu *v)
{
	return !v->number && pic_pending(&pc_of(v->domain)->pic);
}

static uint8_t
pc_ack(struct vcpu *v)
{
	return (uint8_t)pic_ack(&pc_of(v->domain)->pic);
}

/* Of all its devices the 8254 alone does something by itself, and nothing while it is masked. */
uint64_t
pc_deadline(struct domain *d)
{
	const struct pic_chip *master = &pc_of(d)->pic.chip[0];

	return (master->imr | master->irr) & 1 << PIT_IRQ ? CLOCK_NEVER : pc_next_edge(d);
}

uint64_t
pc_next_key(struct domain *d)
{
	return d->keyboard && pc_of(d)->key_next > domain_now(d) ? pc_of(d)->key_next : CLOCK_NEVER;
}

static uint64_t
deadline(struct domain *d)
{
	uint64_t edge = pc_deadline(d), key = pc_next_key(d);

	return key < edge ? key : edge;
}

uint64_t
pc_next_edge(struct domain *d)
{
	struct pc *pc = pc_of(d);
	uint64_t now = domain_now(d);

	_Static_assert(PIT_NEVER == CLOCK_NEVER, "");
	if (now < pc->pit_next)
		return pc->pit_next;
	if (pit_edge_count(&pc->pit, now) != pc->pit_edges) /* since the lines were looked at */
		return now;
	return pit_next_irq0(&pc->pit, now);
}

void
pc_forget_edges(struct pc *pc)
{
	pc->pit_edges = pit_edge_count(&pc->pit, domain_now(pc->domain));
	pc->pit_next = 0;
}

void
pc_make(struct pc *pc, struct domain *d, const struct pc_wire *wire)
{
	uint64_t now = domain_now(d);

	pc->domain = d;
	pc->wire = wire;
	uart_init(&pc->uart);
	pc->uart.lcr = UART_LCR_BITS; /* eight data bits, as firmware leaves it */
	pic_init(&pc->pic);
	pit_init(&pc->pit, now);
	rtc_init(&pc->rtc, d->ram, now);
	i8042_init(&pc->i8042);
	pc->key_stirs = d->keyboard;
	pc_forget_edges(pc);
}

static int
pc_init(struct domain *d)
{
	_Static_assert(sizeof(struct pc) <= PAGE_SIZE, "a PC is one frame");
	d->machine = host_page();
	if (!d->machine)
		return -ENOMEM;
	pc_make(d->machine, d, &pc_classic);
	return 0;
}

void
pc_free(struct domain *d)
{
	host_page_put(d->machine);
	d->machine = NULL;
}

const struct crtc *
pc_display(struct domain *d)
{
	return &pc_of(d)->crtc;
}

static uint8_t pc_claims[LOW_PORTS];

static const struct platform pc_platform = {
	.name = "pc",
	.what = "COM1, two 8259s, an 8254, a clock, a keyboard controller, a text display",
	.init = pc_init,
	.free = pc_free,
	.ports = pc_ports,
	.claims = pc_claims,
	.lines = pc_update_lines,
	.pending = pc_pending,
	.ack = pc_ack,
	.deadline = deadline,
	.display = pc_display,
};
SET_ADD(platforms, pc_platform);

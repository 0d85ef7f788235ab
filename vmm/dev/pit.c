/*
 * 8254 timer and port 0x61. pit.h says what is modelled, and 8254 which edition.
 *
 * All times below are pulses of CLK since the domain's clock was 0. A write between the pulses k
 * and k + 1 has its effect on the counting element at k + 1, as in the datasheet's timing diagrams;
 * effects on OUT and GATE that need no pulse come at once.
 */
#include <vmm/dev/pit.h>

/* PIT_HZ pulses are 10^9 ns; both have the factor 2. */
#define PULSES (PIT_HZ / 2)
#define NANOS  (1000000000 / 2)
_Static_assert(PULSES * 2 == PIT_HZ, "the ratio is exact");

#define CHANNELS            3
#define REFRESH_PULSES      18
#define CONTROL_BCD         0x01
#define CONTROL_MODE(c)     ((c) >> 1 & 7)
#define CONTROL_ACCESS(c)   ((c) >> 4 & 3)
#define CONTROL_CHANNEL(c)  ((c) >> 6)
#define READ_BACK           3 /* as CONTROL_CHANNEL */
#define READ_BACK_NO_COUNT  0x20
#define READ_BACK_NO_STATUS 0x10
#define STATUS_OUT          0x80
#define STATUS_NULL         0x40

enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

static uint64_t
pulses_at(uint64_t ns)
{
	return ns / NANOS * PULSES + ns % NANOS * PULSES / NANOS;
}

/* The first ns at which pulses_at() is t, or PIT_NEVER where no clock of 64 bits gets there. */
static uint64_t
ns_of(uint64_t t)
{
	uint64_t whole = t / PULSES;

	if (whole >= UINT64_MAX / NANOS)
		return PIT_NEVER;
	return whole * NANOS + (t % PULSES * NANOS + PULSES - 1) / PULSES;
}

static bool
bcd(const struct pit_channel *c)
{
	return c->control & CONTROL_BCD;
}

static bool
periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

/* Modes 1 and 5 are started by GATE; in the others GATE low stops the counting. */
static bool
triggered(const struct pit_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

static uint16_t
to_bcd(uint32_t n)
{
	n %= 10000;
	return n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10;
}

static uint32_t
from_bcd(uint16_t b)
{
	return ((b >> 12) * 1000 + (b >> 8 & 15) * 100 + (b >> 4 & 15) * 10 + (b & 15)) % 10000;
}

/* Mode 3 is high for the first half of a period, the longer one if the count is odd. */
static uint32_t
high_half(uint32_t count)
{
	return (count + 1) / 2;
}

static uint64_t
elapsed(const struct pit_channel *c, uint64_t t)
{
	return c->phase == PIT_HELD ? c->held : t - c->start;
}

/* What the counting element shows after pulse t. */
static uint16_t
value(const struct pit_channel *c, uint64_t t)
{
	uint32_t modulus = bcd(c) ? 10000 : 0x10000;
	uint64_t d, left;

	if (c->phase == PIT_IDLE)
		return c->stale;
	d = elapsed(c, t);
	if (c->mode == 3) {
		/* Counts by two, from the even number at or below the count, once for each half. */
		d %= c->count;
		if (d >= high_half(c->count))
			d -= high_half(c->count);
		left = (c->count & ~1u) - 2 * d;
	} else if (c->mode == 2) {
		left = c->count - d % c->count;
	} else {
		left = c->count + modulus - d % modulus; /* past zero it wraps */
	}
	return bcd(c) ? to_bcd(left % modulus) : left;
}

/* OUT after pulse t: 8254 "Mode Definitions". */
static bool
out_at(const struct pit_channel *c, uint64_t t)
{
	uint64_t d;

	if (c->phase == PIT_IDLE)
		return c->mode != 0;
	d = elapsed(c, t);
	switch (c->mode) {
	case 0:
	case 1:
		return d >= c->count;
	case 2:
		return c->phase == PIT_HELD || d % c->count != c->count - 1;
	case 3:
		return c->phase == PIT_HELD || d % c->count < high_half(c->count);
	default:
		return d != c->count;
	}
}

/* The first pulse after t at which OUT rises, while nothing is loaded; PIT_NEVER if it won't. */
static uint64_t
next_rise(const struct pit_channel *c, uint64_t t)
{
	uint64_t rise;

	if (c->phase != PIT_COUNTING)
		return PIT_NEVER;
	if (periodic(c))
		return c->start + ((t - c->start) / c->count + 1) * c->count;
	/* Modes 4 and 5 strobe for one pulse when the count is over; modes 0 and 1 rise then. */
	rise = c->start + c->count + (c->mode >= 4 ? 1 : 0);
	return rise > t ? rise : PIT_NEVER;
}

/* How often OUT rises in (from, to], while nothing is loaded. */
static uint64_t
rises(const struct pit_channel *c, uint64_t from, uint64_t to)
{
	if (c->phase != PIT_COUNTING)
		return 0;
	if (periodic(c))
		return (to - c->start) / c->count - (from - c->start) / c->count;
	return next_rise(c, from) <= to;
}

/* After a change of the channel at c->at that may have changed OUT at once. */
static void
changed(struct pit_channel *c, bool before)
{
	if (!before && out_at(c, c->at))
		c->edges++;
}

/* The count register enters the counting element at pulse t. */
static void
load(struct pit_channel *c, uint64_t t)
{
	/* A new count for mode 3 in the middle of a period begins with the low half. */
	bool low = c->phase == PIT_COUNTING && c->mode == 3 && !out_at(c, t);
	bool before = out_at(c, c->at);

	c->at = t;
	c->count = c->next;
	c->start = t;
	c->held = 0;
	if (low)
		c->start -= high_half(c->count);
	c->null = 0;
	c->load_at = PIT_NEVER;
	c->phase = c->gate || triggered(c) ? PIT_COUNTING : PIT_HELD;
	changed(c, before);
}

/* Brings the channel up to pulse t: what was due is loaded, and edges counted. */
static void
advance(struct pit_channel *c, uint64_t t)
{
	while (c->load_at <= t) {
		uint64_t due = c->load_at;

		/* Before it: at that very pulse OUT is what the new count says. */
		c->edges += rises(c, c->at, due - 1);
		c->at = due - 1;
		load(c, due);
	}
	c->edges += rises(c, c->at, t);
	c->at = t;
}

/* Stops counting: OUT is as the mode's control word leaves it, until a count is loaded. */
static void
stop(struct pit_channel *c)
{
	c->stale = value(c, c->at);
	c->phase = PIT_IDLE;
	c->load_at = PIT_NEVER;
}

static void
write_control(struct pit_channel *c, uint8_t control)
{
	bool before = out_at(c, c->at);

	stop(c);
	c->control = control & 0x3f;
	c->mode = CONTROL_MODE(control);
	if (c->mode > 5) /* 8254 figure 7: bit 2 of modes 2 and 3 doesn't matter */
		c->mode -= 4;
	c->armed = 0;
	c->null = 1;
	c->write_high = 0;
	c->read_high = 0;
	c->latched = 0;
	c->status_latched = 0;
	changed(c, before);
}

/* When a count that is written at c->at enters the counting element. */
static uint64_t
load_time(const struct pit_channel *c)
{
	uint64_t d, half;

	if (triggered(c))
		return c->load_at; /* the trigger loads it; one may be under way */
	if (!periodic(c) || c->phase == PIT_IDLE)
		return c->at + 1;
	if (c->phase == PIT_HELD)
		return c->load_at;
	if (c->mode == 2)
		return next_rise(c, c->at);
	/* Mode 3: the end of this half period. */
	d = (c->at - c->start) % c->count;
	half = d < high_half(c->count) ? high_half(c->count) : c->count;
	return c->at - d + half;
}

static void
write_count(struct pit_channel *c, uint16_t raw)
{
	bool before = out_at(c, c->at);
	uint32_t n = bcd(c) ? from_bcd(raw) : raw;

	if (!n)
		n = bcd(c) ? 10000 : 0x10000;
	if (n == 1 && periodic(c))
		n = 2;
	c->next = n;
	c->null = 1;
	c->armed = 1;
	if (c->mode == 0) /* OUT is low again without a pulse */
		stop(c);
	c->load_at = load_time(c);
	changed(c, before);
}

static void
write_counter(struct pit_channel *c, uint8_t byte)
{
	switch (CONTROL_ACCESS(c->control)) {
	case ACCESS_LOW:
		write_count(c, byte);
		return;
	case ACCESS_HIGH:
		write_count(c, byte << 8);
		return;
	}
	if (c->write_high) {
		c->write_high = 0;
		write_count(c, byte << 8 | c->low);
		return;
	}
	c->low = byte;
	c->write_high = 1;
	if (c->mode == 0) /* 8254 "Mode 0": the first byte disables counting, OUT is low at once */
		stop(c);
}

static void
latch_count(struct pit_channel *c)
{
	if (c->latched)
		return; /* 8254 "Counter Latch Command": a second one is ignored */
	c->latch = value(c, c->at);
	c->latched = CONTROL_ACCESS(c->control) == ACCESS_BOTH ? 2 : 1;
}

static void
latch_status(struct pit_channel *c)
{
	if (c->status_latched)
		return;
	c->status = c->control | (c->null ? STATUS_NULL : 0);
	if (out_at(c, c->at))
		c->status |= STATUS_OUT;
	c->status_latched = 1;
}

static uint8_t
read_counter(struct pit_channel *c)
{
	uint16_t v = c->latched ? c->latch : value(c, c->at);

	/* 8254 "Read-Back Command": status before count, whichever was latched first. */
	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	if (c->latched)
		c->latched--;
	switch (CONTROL_ACCESS(c->control)) {
	case ACCESS_LOW:
		return v;
	case ACCESS_HIGH:
		return v >> 8;
	}
	c->read_high = !c->read_high;
	return c->read_high ? v : v >> 8;
}

static void
set_gate(struct pit_channel *c, bool gate)
{
	bool before = out_at(c, c->at), rising = gate && !c->gate, falling = !gate && c->gate;

	c->gate = gate;
	if (triggered(c)) {
		if (rising && c->armed)
			c->load_at = c->at + 1;
	} else if (falling && c->phase == PIT_COUNTING) {
		c->held = c->at - c->start;
		c->phase = PIT_HELD;
		if (periodic(c))
			c->load_at = PIT_NEVER; /* the period that it waited for won't end */
	} else if (rising && c->phase == PIT_HELD) {
		if (periodic(c)) {
			c->load_at = c->at + 1;
		} else {
			c->start = c->at - c->held;
			c->phase = PIT_COUNTING;
		}
	}
	changed(c, before);
}

/* A clock that runs backwards stands still here. */
static void
advance_to(struct pit_channel *c, uint64_t now)
{
	uint64_t t = pulses_at(now);

	advance(c, t > c->at ? t : c->at);
}

static void
write_mode_port(struct pit *p, uint8_t value)
{
	unsigned n = CONTROL_CHANNEL(value);

	if (n != READ_BACK) {
		if (CONTROL_ACCESS(value) == ACCESS_LATCH)
			latch_count(&p->ch[n]);
		else
			write_control(&p->ch[n], value);
		return;
	}
	for (n = 0; n < CHANNELS; n++) {
		if (!(value >> (n + 1) & 1))
			continue;
		if (!(value & READ_BACK_NO_COUNT))
			latch_count(&p->ch[n]);
		if (!(value & READ_BACK_NO_STATUS))
			latch_status(&p->ch[n]);
	}
}

static void
advance_all(struct pit *p, uint64_t now)
{
	for (unsigned n = 0; n < CHANNELS; n++)
		advance_to(&p->ch[n], now);
}

void
pit_write(struct pit *p, uint16_t port, uint8_t value, uint64_t now)
{
	advance_all(p, now);
	if (port == PIT_PORT_B) {
		p->port_b = value & (PORT_B_GATE2 | PORT_B_SPEAKER | PORT_B_ENABLES);
		set_gate(&p->ch[2], value & PORT_B_GATE2);
	} else if (port == PIT_CONTROL) {
		write_mode_port(p, value);
	} else if (port >= PIT_BASE && port < PIT_CONTROL) {
		write_counter(&p->ch[port - PIT_BASE], value);
	}
}

static uint8_t
read_port_b(const struct pit *p, uint64_t now)
{
	uint8_t value = p->port_b;

	if (pulses_at(now) / REFRESH_PULSES & 1)
		value |= PORT_B_REFRESH;
	if (out_at(&p->ch[2], p->ch[2].at))
		value |= PORT_B_OUT2;
	return value;
}

uint8_t
pit_read(struct pit *p, uint16_t port, uint64_t now)
{
	advance_all(p, now);
	if (port == PIT_PORT_B)
		return read_port_b(p, now);
	if (port >= PIT_BASE && port < PIT_CONTROL)
		return read_counter(&p->ch[port - PIT_BASE]);
	return 0xff;
}

bool
pit_out(const struct pit *p, unsigned channel, uint64_t now)
{
	struct pit_channel c = p->ch[channel];

	advance_to(&c, now);
	return out_at(&c, c.at);
}

uint64_t
pit_edge_count(const struct pit *p, uint64_t now)
{
	struct pit_channel c = p->ch[0];

	advance_to(&c, now);
	return c.edges;
}

uint64_t
pit_next_irq0(const struct pit *p, uint64_t now)
{
	struct pit_channel c = p->ch[0];
	uint64_t rise;

	advance_to(&c, now);
	rise = next_rise(&c, c.at);
	if (c.load_at < rise) { /* at the same pulse, the edge is the old count's */
		advance(&c, c.load_at);
		rise = next_rise(&c, c.at);
	}
	return rise == PIT_NEVER ? PIT_NEVER : ns_of(rise);
}

void
pit_init(struct pit *p, uint64_t now)
{
	*p = (struct pit){ .version = PIT_VERSION };
	for (unsigned n = 0; n < CHANNELS; n++) {
		struct pit_channel *c = &p->ch[n];

		c->at = pulses_at(now);
		c->load_at = PIT_NEVER;
		c->gate = n != 2;
		write_control(c, ACCESS_BOTH << 4 | (n == 2 ? 3 : 2) << 1);
	}
	for (unsigned n = 0; n < 2; n++) {
		write_count(&p->ch[n], n ? REFRESH_PULSES : 0);
		load(&p->ch[n], p->ch[n].at);
		p->ch[n].edges = 0;
	}
}

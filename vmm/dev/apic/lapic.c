/*
 * A local APIC. lapic.h says what is modelled, and which manual is meant.
 */
#include <vmm/dev/apic/lapic.h>

#define DELIVERY(value) ((value) >> 8 & 7)
#define ICR_LOGICAL     0x800u
#define ICR_ASSERT      0x4000u
#define ICR_LEVEL       0x8000u
#define DFR_CLUSTERS    0xfu /* its model, bits 31:28, is 0: one or more clusters of four */
#define EVERYBODY       0xffu
#define EVERY_X2        0xffffffffu

/* SDM 3A figure 11-8 and table 11-1: the bits of an entry that can be written. */
static const uint32_t lvt_bits[LVTS] = {
	[LVT_TIMER] = 0x300ff, [LVT_THERMAL] = 0x107ff, [LVT_COUNTERS] = 0x107ff,
	[LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
};

void
lapic_init(struct lapic *l, uint8_t id, bool has_deadline)
{
	*l = (struct lapic){ .version = LAPIC_STATE,
			     .id = (uint32_t)id << 24,
			     .dfr = ~0u,
			     .svr = 0xff,
			     .has_deadline = has_deadline };
	for (unsigned i = 0; i < LVTS; i++)
		l->lvt[i] = LVT_MASKED;
}

/* ---- vectors ---- */

static bool
has_vector(const uint32_t set[8], unsigned vector)
{
	return set[vector / 32] >> vector % 32 & 1;
}

static void
set_vector(uint32_t set[8], unsigned vector, bool on)
{
	uint32_t bit = 1u << vector % 32;

	set[vector / 32] = on ? set[vector / 32] | bit : set[vector / 32] & ~bit;
}

static int
highest(const uint32_t set[8])
{
	uint64_t words[4];

	__builtin_memcpy(words, set, sizeof(words));
	if (!(words[0] | words[1] | words[2] | words[3]))
		return LAPIC_NONE; /* mostly, and this is asked often */
	for (int i = 7; i >= 0; i--)
		if (set[i])
			return i * 32 + 31 - __builtin_clz(set[i]);
	return LAPIC_NONE;
}

uint8_t
lapic_ppr(const struct lapic *l)
{
	int serving = highest(l->isr);

	if (serving == LAPIC_NONE || (l->tpr & 0xf0) >= ((unsigned)serving & 0xf0))
		return (uint8_t)l->tpr;
	return serving & 0xf0;
}

/* SDM 3A 11.8.3.1: of a class above the processor's priority. */
int
lapic_pending(const struct lapic *l)
{
	int vector = highest(l->irr);

	if (vector == LAPIC_NONE || !(l->svr & SVR_ENABLED) ||
	    (vector & 0xf0) <= (lapic_ppr(l) & 0xf0))
		return LAPIC_NONE;
	return vector;
}

/* What was pending may be so no more: then it is the spurious one, which is not in service. */
uint8_t
lapic_ack(struct lapic *l)
{
	int vector = lapic_pending(l);

	if (vector == LAPIC_NONE)
		return (uint8_t)l->svr;
	set_vector(l->irr, (unsigned)vector, false);
	set_vector(l->isr, (unsigned)vector, true);
	return (uint8_t)vector;
}

bool
lapic_passes_8259(const struct lapic *l)
{
	uint32_t entry = l->lvt[LVT_LINT0];

	return l->off || (!(entry & LVT_MASKED) && DELIVERY(entry) == APIC_EXTINT);
}

/* ---- errors, and what is accepted ---- */

/* ESR shows it once it has been written (SDM 3A 11.5.3 "Error Handling"). */
static void
error(struct lapic *l, uint32_t which)
{
	uint32_t entry = l->lvt[LVT_ERROR];
	unsigned vector = entry & 0xff;

	l->errors |= which;
	if (entry & LVT_MASKED || vector < APIC_FIRST_VECTOR)
		return;
	set_vector(l->irr, vector, true);
	set_vector(l->tmr, vector, false);
}

/* SDM 3A 11.4.7.2: while software has disabled it, none is accepted but what wakes a CPU. */
void
lapic_accept(struct lapic *l, uint8_t vector, bool level)
{
	if (!(l->svr & SVR_ENABLED))
		return;
	if (vector < APIC_FIRST_VECTOR) {
		error(l, ESR_RECEIVE_ILLEGAL);
		return;
	}
	set_vector(l->irr, vector, true);
	set_vector(l->tmr, vector, level);
}

bool
lapic_is_meant(const struct lapic *l, const struct apic_message *m)
{
	uint32_t mine = l->ldr >> 24, to = m->destination;

	if (to == EVERY_X2 || l->off)
		return !l->off;
	if (l->x2)
		return m->logical ? to >> 16 == l->ldr >> 16 && to & l->ldr & 0xffff : to == l->id;
	if (!m->logical)
		return to == EVERYBODY || to == l->id >> 24;
	if (l->dfr >> 28 == DFR_CLUSTERS)
		return mine & to;
	return (to >> 4 == DFR_CLUSTERS || to >> 4 == mine >> 4) && mine & to & 0xf;
}

/* ---- the timer (SDM 3A 11.5.4 "APIC Timer") ---- */

/* The divide configuration register: bits 3, 1, 0 are 0 for 2, 1 for 4 ... 6 for 128, 7 for 1. */
static unsigned
divisor(const struct lapic *l)
{
	unsigned n = (l->divide & 3) | (l->divide >> 1 & 4);

	return 1u << ((n + 1) & 7);
}

/* A count that has gone on with another divisor may have begun before time did. */
static uint64_t
counted(const struct lapic *l, uint64_t now)
{
	return (now - l->start) / divisor(l);
}

static uint32_t
current(const struct lapic *l, uint64_t now)
{
	uint64_t n = counted(l, now);

	if (!l->counting)
		return 0;
	if (l->lvt[LVT_TIMER] & LVT_PERIODIC)
		return l->initial - (uint32_t)(n % l->initial);
	return n >= l->initial ? 0 : l->initial - (uint32_t)n;
}

void
lapic_tick(struct lapic *l, uint64_t now)
{
	uint32_t entry = l->lvt[LVT_TIMER];
	uint64_t n;

	if (!l->counting)
		return;
	n = counted(l, now) / l->initial;
	if (n == l->fired)
		return;
	l->fired = n;
	if (!(entry & LVT_PERIODIC))
		l->counting = false;
	if (!(entry & LVT_MASKED))
		lapic_accept(l, entry & 0xff, false);
}

/* While the last one waits, another would not be seen. */
uint64_t
lapic_deadline(const struct lapic *l)
{
	uint32_t entry = l->lvt[LVT_TIMER];

	if (!l->counting || entry & LVT_MASKED || has_vector(l->irr, entry & 0xff))
		return LAPIC_NEVER;
	return l->start + (l->fired + 1) * l->initial * divisor(l);
}

/*
 * The mode or the divisor changes: it counts on from where it is; to or from deadlines: nothing is
 * armed (SDM 3A 11.5.4.1).
 */
static void
change_timer(struct lapic *l, uint32_t entry, uint32_t divide, uint64_t now)
{
	uint32_t left;

	lapic_tick(l, now);
	if ((l->lvt[LVT_TIMER] ^ entry) & LVT_DEADLINE) {
		l->tsc_deadline = 0;
		l->initial = l->counting = 0;
	}
	left = current(l, now);
	l->lvt[LVT_TIMER] = entry;
	l->divide = divide;
	l->start = now - (uint64_t)(l->initial - left) * divisor(l);
	l->fired = 0;
}

/* ---- registers ---- */

uint32_t
lapic_read(struct lapic *l, unsigned offset, uint64_t now)
{
	unsigned n = offset >> 4;

	if (offset >= LAPIC_REG_ISR && offset < LAPIC_REG_ESR) {
		const uint32_t *sets[] = { l->isr, l->tmr, l->irr };

		return sets[(offset - LAPIC_REG_ISR) >> 7][n & 7];
	}
	if (offset >= LAPIC_REG_LVT && offset < LAPIC_REG_INITIAL)
		return l->lvt[n - (LAPIC_REG_LVT >> 4)];
	switch (offset) {
	case LAPIC_REG_ID:
		return l->id;
	case LAPIC_REG_VERSION:
		return LAPIC_VERSION;
	case LAPIC_REG_TPR:
		return l->tpr;
	case LAPIC_REG_PPR:
		return lapic_ppr(l);
	case LAPIC_REG_LDR:
		return l->ldr;
	case LAPIC_REG_DFR:
		return l->dfr;
	case LAPIC_REG_SVR:
		return l->svr;
	case LAPIC_REG_ESR:
		return l->esr;
	case LAPIC_REG_ICR:
	case LAPIC_REG_ICR_HIGH:
		return l->icr[n & 1];
	case LAPIC_REG_INITIAL:
		return l->initial;
	case LAPIC_REG_CURRENT:
		lapic_tick(l, now);
		return current(l, now);
	case LAPIC_REG_DIVIDE:
		return l->divide;
	case LAPIC_REG_EOI:
		return 0;
	default:
		error(l, ESR_ILLEGAL_ADDRESS);
		return 0;
	}
}

/* The highest in service is over; of one that was level triggered the I/O APIC is told. */
static enum lapic_effect
end_of_interrupt(struct lapic *l, struct apic_message *message)
{
	int vector = highest(l->isr);

	if (vector == LAPIC_NONE)
		return LAPIC_DONE;
	set_vector(l->isr, (unsigned)vector, false);
	if (!has_vector(l->tmr, (unsigned)vector))
		return LAPIC_DONE;
	*message = (struct apic_message){ .vector = (uint8_t)vector };
	return LAPIC_EOI;
}

/* Writing ICR's low half sends (SDM 3A 11.6.1). */
static enum lapic_effect
send(struct lapic *l, uint32_t value, struct apic_message *message)
{
	l->icr[0] = value & 0xccfff;
	*message = (struct apic_message){
		.vector = (uint8_t)value,
		.mode = DELIVERY(value),
		.logical = value & ICR_LOGICAL,
		.level = false, /* an IPI is an edge, whatever ICR says (SDM 3A 11.6.1) */
		.deassert = value & ICR_LEVEL && !(value & ICR_ASSERT),
		.shorthand = value >> 18 & 3,
		.destination = l->x2 ? l->icr[1] : l->icr[1] >> 24,
	};
	if (message->mode > APIC_LOWEST || message->vector >= APIC_FIRST_VECTOR)
		return LAPIC_SEND;
	error(l, ESR_SEND_ILLEGAL);
	return LAPIC_DONE;
}

/* SDM 3A 11.4.7.2: while it is disabled, all entries are masked, and stay so. */
static void
write_svr(struct lapic *l, uint32_t value)
{
	l->svr = value & 0x1ff;
	for (unsigned i = 0; i < LVTS && !(value & SVR_ENABLED); i++)
		l->lvt[i] |= LVT_MASKED;
}

uint32_t
lapic_lvt_bits(const struct lapic *l, unsigned which)
{
	return lvt_bits[which] | (which == LVT_TIMER && l->has_deadline ? LVT_DEADLINE : 0);
}

static void
write_lvt(struct lapic *l, unsigned which, uint32_t value, uint64_t now)
{
	value &= lapic_lvt_bits(l, which);
	if (!(l->svr & SVR_ENABLED))
		value |= LVT_MASKED;
	if (which == LVT_TIMER)
		change_timer(l, value, l->divide, now);
	else
		l->lvt[which] = value;
}

static void
write_initial(struct lapic *l, uint32_t value, uint64_t now)
{
	if (l->lvt[LVT_TIMER] & LVT_DEADLINE)
		return;
	l->initial = value;
	l->counting = value != 0;
	l->start = now;
	l->fired = 0;
}

enum lapic_effect
lapic_write(struct lapic *l, unsigned offset, uint32_t value, uint64_t now,
	    struct apic_message *message)
{
	if (offset >= LAPIC_REG_LVT && offset < LAPIC_REG_INITIAL) {
		write_lvt(l, (offset - LAPIC_REG_LVT) >> 4, value, now);
		return LAPIC_DONE;
	}
	switch (offset) {
	case LAPIC_REG_ID:
		l->id = value & 0xff000000;
		break;
	case LAPIC_REG_TPR:
		l->tpr = value & 0xff;
		break;
	case LAPIC_REG_EOI:
		return end_of_interrupt(l, message);
	case LAPIC_REG_LDR:
		l->ldr = value & 0xff000000;
		break;
	case LAPIC_REG_DFR:
		l->dfr = value | 0x0fffffff;
		break;
	case LAPIC_REG_SVR:
		write_svr(l, value);
		break;
	case LAPIC_REG_ESR:
		l->esr = l->errors;
		l->errors = 0;
		break;
	case LAPIC_REG_ICR:
		return send(l, value, message);
	case LAPIC_REG_ICR_HIGH:
		l->icr[1] = value & 0xff000000;
		break;
	case LAPIC_REG_INITIAL:
		write_initial(l, value, now);
		break;
	case LAPIC_REG_DIVIDE:
		change_timer(l, l->lvt[LVT_TIMER], value & 0xb, now);
		break;
	default:
		/* the others can't be written; what is no register at all is an error */
		if (offset < LAPIC_REG_ID || offset > LAPIC_REG_DIVIDE)
			error(l, ESR_ILLEGAL_ADDRESS);
	}
	return LAPIC_DONE;
}

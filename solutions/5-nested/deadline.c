/*
 * The local APIC's timer by deadlines: exercise 5.7.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/kern.h>
#include <vmm/dev/apic/deadline.h>

#define NS_PER_S 1000000000u

/* EXERCISE 5.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 5.0 */

void
deadline_msr(struct lapic *l, bool write, uint64_t *value)
{
	/*
	 * EXERCISE 5.7a: the register
	 * Holds: a read finds what is still to come, a write says when that is to be.
	 * Beware: the timer has three modes, and this register belongs to one.
	 * Manual: SDM 3A "TSC-Deadline Mode".
	 * Tools: lapic of vmm/dev/apic/lapic.h, LVT_DEADLINE, LVT_PERIODIC, LVT_TIMER
	 * Hint: what does the guest read that has never asked for deadlines?
	 * Hint: an alarm clock with a dial and a stop-watch in one case, and a switch between them:
	 *  while it counts seconds, nobody sets the dial, and nobody reads it.
	 * Hint: write_initial() of vmm/dev/apic/lapic.c is the counting timer's register: there it
	 *  is the other way round.
	 * until then: (void)l; if (!write) *value = 0;
	 */
	bool is_mine = l->lvt[LVT_TIMER] & LVT_DEADLINE;

	if (!write)
		*value = is_mine ? l->tsc_deadline : 0;
	else if (is_mine)
		l->tsc_deadline = *value;
	/* END EXERCISE 5.7a */
}

void
deadline_tick(struct lapic *l, uint64_t tsc)
{
	/*
	 * EXERCISE 5.7b: due
	 * Holds: the interrupt of a deadline that has come is accepted, once, and the register
	 *  says that there is none to come.
	 * Beware: this is asked often, and most often nothing is due. The guest may want to hear
	 *  nothing, and the deadline passes all the same.
	 * Manual: SDM 3A "TSC-Deadline Mode", "Local Vector Table".
	 * Tools: lapic_accept(), lapic_ack(), LVT_MASKED, LVT_TIMER
	 * Hint: which value of the register can be no deadline, and who puts it there?
	 * Hint: a train that has left does not leave again when one looks at the clock once more,
	 *  whether or not it was announced.
	 * Hint: lapic_tick() of vmm/dev/apic/lapic.c does so for the count: what has come to its
	 *  end is noted first, and then it asks whether somebody wants to hear of it.
	 * until then: (void)l; (void)tsc;
	 */
	uint32_t entry = l->lvt[LVT_TIMER];

	if (!l->tsc_deadline || tsc < l->tsc_deadline)
		return;
	l->tsc_deadline = 0;
	if (!(entry & LVT_MASKED))
		lapic_accept(l, (uint8_t)entry, false);
	/* END EXERCISE 5.7b */
}

uint64_t
deadline_left(const struct lapic *l, uint64_t tsc, uint64_t hz)
{
	/*
	 * EXERCISE 5.7c: how long a guest may sleep
	 * Holds: after so many nanoseconds the deadline has come, and after one less it had not.
	 * Beware: it may be past, masked, or farther away than 64 bits of nanoseconds: what never
	 *  comes says so. Nobody is woken for nothing.
	 * Manual: SDM 3A "TSC-Deadline Mode"; SDM 3B "Time-Stamp Counter".
	 * Tools: LAPIC_NEVER, lapic_tick(), LVT_MASKED, LVT_TIMER, NS_PER_S
	 * Hint: how large is the largest deadline, and what becomes of it times a thousand million?
	 * Hint: a clock that beats three times in two seconds: whoever is to be there at the fourth
	 *  beat and comes after two seconds, because 8 / 3 is 2, waits at a shut door, goes home,
	 *  and comes back, and waits.
	 * Hint: clock_ns() of kern/clock.c goes the other way, from time stamps to nanoseconds: it
	 *  multiplies in 128 bits, and rounds down.
	 * until then: (void)l; (void)tsc; (void)hz; return LAPIC_NEVER;
	 */
	uint64_t ticks = l->tsc_deadline - tsc, seconds = ticks / hz;

	if (!l->tsc_deadline || l->lvt[LVT_TIMER] & LVT_MASKED)
		return LAPIC_NEVER;
	if (tsc >= l->tsc_deadline)
		return 0;
	if (seconds > UINT32_MAX)
		return LAPIC_NEVER;
	return seconds * NS_PER_S + (ticks % hz * NS_PER_S + hz - 1) / hz;
	/* END EXERCISE 5.7c */
}

static const struct deadline_timer timer = { deadline_msr, deadline_tick, deadline_left };
SET_ADD(deadline_timers, timer);

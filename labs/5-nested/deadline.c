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
	 */
	exercise_todo("5.7", "handouts/lab5b.md#ex-5-7");
	(void)l;
	if (!write) *value = 0;
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
	 */
	exercise_todo("5.7", "handouts/lab5b.md#ex-5-7");
	(void)l;
	(void)tsc;
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
	 */
	exercise_todo("5.7", "handouts/lab5b.md#ex-5-7");
	(void)l;
	(void)tsc;
	(void)hz;
	return LAPIC_NEVER;
	/* END EXERCISE 5.7c */
}

static const struct deadline_timer timer = { deadline_msr, deadline_tick, deadline_left };
SET_ADD(deadline_timers, timer);

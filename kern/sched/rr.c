/*
 * Round robin: whoever is ready, in turn. A turn is a turn, however short: who gives way early has
 * less of the CPU than who does not, and who wakes waits for all others.
 */
#include <kern/kern.h>
#include <kern/sched/sched.h>

struct thread *
sched_in_turn(struct thread *all, struct thread *last)
{
	struct thread *start = sched_after(all, last), *t = start;

	do {
		if (t->state == THREAD_READY)
			return t;
		t = sched_after(all, t);
	} while (t != start);
	return NULL;
}

static const struct policy policy_rr = { .name = "rr",
					 .what = "each in turn",
					 .choose = sched_in_turn };
SET_ADD(policies, policy_rr);

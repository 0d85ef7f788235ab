/*
 * The policy `credit`: time by weight. Exercise 7.5.
 *
 *   credit > 0, has slept   ->  comes next, and soon: a turn ends for it
 *   credit > 0              ->  in turn
 *   credit <= 0             ->  when nobody above is ready: then all get credit anew
 *
 * What one runs beyond its credit is a debt.
 */
#include <kern/kern.h>
#include <kern/sched/sched.h>

#define UNIT 39063l /* ns of a round, of one of the weight: a tick is WEIGHT_DEFAULT */

/* EXERCISE 7.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 7.0 */

static int64_t
part(const struct account *a)
{
	return a->weight * UNIT;
}

static void
charge(struct account *a, uint64_t ns)
{
	/*
	 * EXERCISE 7.5a: what a turn costs
	 * Holds: the account has paid for that long.
	 * Beware: turns may be of any length: some end when the clock strikes, some just before,
	 *  some after a hundred instructions. Kernel and hypercalls are in it; whoever is charged
	 *  wrongly here has the machine, or nothing.
	 * Manual: kern/sched/sched.h; struct account in kern/thread.h.
	 * Tools: ns, TICK_HZ
	 * Hint: whose time is a turn of 9.9 ms that no tick has seen?
	 * Hint: a taxi's meter runs; it does not look out now and then whether somebody sits
	 *  there.
	 * Hint: the monitor's own clock (kern/clock.c) counts ticks in `ticks`, and reads the TSC
	 *  for what lies between: one of both would be wrong here.
	 * until then: (void)a; (void)ns;
	 */
	a->credit -= (int64_t)ns;
	/* END EXERCISE 7.5a */
}

static void
refill(const struct thread *all)
{
	/*
	 * EXERCISE 7.5b: a round
	 * Holds: of the threads that are ready one at least can run again; all accounts have had
	 *  the same number of rounds, as few as that takes. None has more than its part saved up.
	 * Beware: accounts whose threads sleep are in the list, too; weights go from one to
	 *  WEIGHT_MAX, and a debt may be of many rounds. Some account is ready, and none of the
	 *  ready ones has anything left.
	 * Manual: kern/sched/sched.h; struct account in kern/thread.h.
	 * Tools: clock_ns(), part(), sched_accounts, THREAD_READY
	 * Hint: after which round can the first of them run, and what do the others get
	 *  meanwhile?
	 * Hint: three children with pocket money by age: who has debts waits for more Sundays,
	 *  but no Sunday is one child's alone; and a money box holds one week.
	 * Hint: pv_timers_take() counts periods that have gone by unseen, too, and forgets them;
	 *  here they are counted, since each is somebody's.
	 * until then: (void)all; (void)part;
	 */
	int64_t rounds = INT64_MAX;

	for (const struct thread *t = all; t; t = t->next) {
		int64_t needs = -t->account->credit / part(t->account) + 1;

		if (t->state == THREAD_READY && needs < rounds)
			rounds = needs;
	}
	for (struct account *a = sched_accounts; a; a = a->next) {
		a->credit += rounds * part(a);
		if (a->credit > part(a))
			a->credit = part(a);
	}
	/* END EXERCISE 7.5b */
}

static struct thread *
choose(struct thread *all, struct thread *last)
{
	/*
	 * EXERCISE 7.5c: the choice
	 * Holds: of those that are ready it is one that comes first, as the table above says;
	 *  NULL only where nobody is ready.
	 * Beware: among equals they take turns, whoever had the last one, and none is overlooked:
	 *  threads come and go, and `last` may be nobody. A machine never waits while one is
	 *  ready.
	 * Manual: kern/sched/sched.h, struct policy; sched_in_turn() of rr.c there is another.
	 * Tools: need_resched, refill(), sched_after(), THREAD_READY
	 * Hint: which of two equals is it, and why never the same one twice?
	 * Hint: people in a ring, some with a ticket, some who are in a hurry: who is asked first
	 *  stands behind the one who was served last.
	 * Hint: round robin (kern/sched/rr.c) goes round once, too, and takes the first that will
	 *  do; who looks for the best one can't stop there.
	 * until then: (void)refill; return sched_in_turn(all, last);
	 */
	struct thread *t = sched_after(all, last), *found = NULL;
	int best = -1;

	for (const struct thread *n = all; n; n = n->next, t = sched_after(all, t)) {
		int rank = t->account->credit <= 0 ? 0 : 1 + t->woken;

		if (t->state == THREAD_READY && rank > best) {
			found = t;
			best = rank;
		}
	}
	if (best)
		return found;
	refill(all);
	return choose(all, last);
	/* END EXERCISE 7.5c */
}

static bool
wakes(const struct thread *t)
{
	/*
	 * EXERCISE 7.5d: who is let in
	 * Holds: true if a turn shall end for this one, which has slept: when it wakes it would
	 *  be chosen before who runs.
	 * Beware: a guest can sleep and wake a thousand times in a second, and each time somebody
	 *  else's turn is over.
	 * Manual: kern/sched/sched.h, struct policy.
	 * Tools: clock_ns(), refill()
	 * Hint: what is to become of one that wakes all the time, when its part is used up?
	 * Hint: an ambulance may turn others out of the lane; its driver on his way home may not.
	 * Hint: an interrupt's handler is let in in the same way, by IF alone; nobody asks there
	 *  whether it has had its share, and so a device can keep a CPU busy.
	 * until then: (void)t; return false;
	 */
	return t->account->credit > 0;
	/* END EXERCISE 7.5d */
}

static const struct policy policy_credit = {
	.name = "credit",
	.what = "time by weight; who has slept and has time left comes first",
	.charge = charge,
	.choose = choose,
	.wakes = wakes,
};
SET_ADD(policies, policy_credit);

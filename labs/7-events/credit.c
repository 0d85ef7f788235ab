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
	 */
	exercise_todo("7.5", "handouts/lab7b.md#ex-7-5");
	(void)a;
	(void)ns;
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
	 */
	exercise_todo("7.5", "handouts/lab7b.md#ex-7-5");
	(void)all;
	(void)part;
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
	 */
	exercise_todo("7.5", "handouts/lab7b.md#ex-7-5");
	(void)refill;
	return sched_in_turn(all, last);
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
	 */
	exercise_todo("7.5", "handouts/lab7b.md#ex-7-5");
	(void)t;
	return false;
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

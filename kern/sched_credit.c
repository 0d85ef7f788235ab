/*
 * Credit: an account gets time by its weight, and pays for what it runs.
 *
 *   credit > 0, has slept   ->  comes next, and soon: a turn ends for it
 *   credit > 0              ->  in turn
 *   credit <= 0             ->  when nobody above is ready: then all get credit anew
 *
 * So the CPU never waits while one is ready; and of n rounds of new credit none has more than n
 * times its part, whenever it sleeps, gives way or wakes: what it has not used by the next round it
 * can't save, but for one round. What one runs beyond its credit, up to a slice, is a debt.
 */
#include <kern/kern.h>
#include <kern/sched.h>

#define UNIT 39063l /* ns of a round, of one of the weight: a tick is WEIGHT_DEFAULT */

static int64_t
part(const struct account *a)
{
	return a->weight * UNIT;
}

static void
charge(struct account *a, uint64_t ns)
{
	a->credit -= (int64_t)ns;
}

/* As many rounds as bring the first of those that are ready above 0. */
static void
refill(const struct thread *all)
{
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
}

static bool
has_credit(const struct thread *t)
{
	return t->account->credit > 0;
}

static int
rank(const struct thread *t)
{
	return has_credit(t) ? 1 + t->woken : 0;
}

static struct thread *
choose(struct thread *all, struct thread *last)
{
	struct thread *start = sched_after(all, last), *t = start, *found = NULL;

	do {
		if (t->state == THREAD_READY && (!found || rank(t) > rank(found)))
			found = t;
		t = sched_after(all, t);
	} while (t != start);
	if (!found || has_credit(found))
		return found;
	refill(all);
	return choose(all, last);
}

static const struct policy policy_credit = {
	.name = "credit",
	.what = "time by weight; who has slept and has time left comes first",
	.charge = charge,
	.choose = choose,
	.wakes = has_credit,
};
SET_ADD(policies, policy_credit);

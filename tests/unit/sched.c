/* BUILD: solutions/7-events/credit.c */
/*
 * The credit policy in a simulated machine: accounts of random weights, whose threads spin, sleep,
 * dodge the clock, give way. None that always wants the CPU gets less by its weight than anybody
 * else, and nobody waits while the CPU is idle.
 */
#include <string.h>

#include <kern/kern.h>
#include <kern/sched/sched.h>

#include "draw.h"
#include "tap.h"

#define MS        1000000ul
#define SLICE     (10 * MS)
#define ACCOUNTS  6u
#define THREADS   2u
#define EACH_TIME (60000 * MS)

SET_DECLARE(policies);

struct account *sched_accounts;

static const struct policy *policy;

enum way { SPINS, SLEEPS, DODGES, YIELDS, WAKES, WAYS };
static struct one {
	struct account account;
	struct thread thread[THREADS];
	uint64_t wakes_at[THREADS];
	enum way way;
} all[ACCOUNTS];
static unsigned lost, early;

/* All threads of as many accounts, in one list. */
static struct thread *
begin(unsigned accounts)
{
	struct thread *first = NULL;

	memset(all, 0, sizeof(all));
	sched_accounts = NULL;
	for (unsigned n = 0; n < accounts; n++) {
		struct one *o = &all[n];

		o->account.weight = 1 + (uint32_t)draw(n % 2 ? 1024 : 8);
		o->account.next = sched_accounts;
		sched_accounts = &o->account;
		o->way = n < 2 ? SPINS : (enum way)draw(WAYS);
		for (unsigned i = 0; i <= draw(THREADS); i++) {
			struct thread *t = &o->thread[i];

			*t = (struct thread){ .account = &o->account,
					      .state = THREAD_READY,
					      .next = first };
			first = t;
		}
		if (policy->join)
			policy->join(&o->account);
	}
	return first;
}

static struct one *
of(const struct thread *t)
{
	return (struct one *)t->account;
}

static uint64_t *
wakes_at(struct thread *t)
{
	return &of(t)->wakes_at[t - of(t)->thread];
}

static void
wake(struct thread *list, uint64_t now)
{
	for (struct thread *t = list; t; t = t->next)
		if (t->state == THREAD_BLOCKED && *wakes_at(t) <= now) {
			t->state = THREAD_READY;
			t->woken = true;
		}
}

/* When one comes that ends this turn, at the soonest. */
static uint64_t
let_in(const struct thread *list, uint64_t now)
{
	uint64_t at = now + SLICE;

	for (const struct thread *t = list; t; t = t->next)
		if (t->state == THREAD_BLOCKED && *wakes_at((struct thread *)t) < at &&
		    policy->wakes(t))
			at = *wakes_at((struct thread *)t);
	return at < now + SCHED_RATE ? now + SCHED_RATE : at;
}

/* Its turn; until when. */
static uint64_t
turn(struct thread *list, struct thread *t, uint64_t now)
{
	static const uint64_t runs[WAYS] = { SLICE, 7 * MS, SLICE - MS / 2, MS / 50, MS / 20 };
	static const uint64_t sleeps[WAYS] = { 0, 9 * MS, MS * 3 / 5, 0, MS / 20 };
	enum way way = of(t)->way;
	uint64_t until = let_in(list, now), done = now + 1000 + draw(runs[way]);

	t->woken = false;
	if (way == DODGES)
		done = now + runs[way];
	if (way == SPINS || done > until)
		return until;
	if (sleeps[way]) {
		t->state = THREAD_BLOCKED;
		*wakes_at(t) = done + 1 + (way == DODGES ? sleeps[way] : draw(sleeps[way]));
	}
	return done;
}

static bool
is_ready(const struct thread *list)
{
	for (const struct thread *t = list; t; t = t->next)
		if (t->state == THREAD_READY)
			return true;
	return false;
}

static void
simulate(struct thread *list, uint64_t time)
{
	struct thread *last = NULL;
	uint64_t now = 0, end;

	while (now < time) {
		struct thread *t;

		wake(list, now);
		t = policy->choose(list, last);
		lost += !t != !is_ready(list) || (t && t->state != THREAD_READY);
		if (!t || t->state != THREAD_READY) {
			now += MS / 10;
			continue;
		}
		end = turn(list, t, now);
		policy->charge(t->account, end - now);
		t->account->used += end - now;
		last = t;
		now = end;
	}
}

/* Rounds of a tick for 256 that it has had; a slice and a round it may have more, or less. */
static double
rounds(const struct account *a, double more)
{
	return ((double)a->used + more * (double)SLICE) / ((double)SLICE * a->weight / 256) + more;
}

static void
fair(unsigned accounts)
{
	for (unsigned n = 0; n < 2; n++) /* those that spin */
		for (unsigned k = 0; k < accounts; k++)
			early += rounds(&all[k].account, -1) > rounds(&all[n].account, 1);
}

static void
idle(void)
{
	struct thread *list = begin(1);

	for (struct thread *t = list; t; t = t->next)
		t->state = THREAD_BLOCKED;
	is_u64(policy->choose(list, NULL) == NULL, 1, "nobody is ready: nobody is chosen");
	list->state = THREAD_READY;
	policy->charge(list->account, 1000 * SLICE);
	is_u64(policy->choose(list, NULL) == list, 1, "alone it is chosen, whatever it owes");
}

/* Credit that is not used is not saved. */
static void
hoards(void)
{
	struct thread *list = begin(2), *sleeper = &all[1].thread[0], *t;
	uint64_t had = 0, other = 0;

	all[0].account.weight = all[1].account.weight = 256;
	for (t = list; t; t = t->next) {
		t->state = THREAD_BLOCKED;
		*wakes_at(t) = ~0ul;
	}
	all[0].thread[0].state = THREAD_READY;
	simulate(list, 10000 * MS);
	sleeper->state = THREAD_READY;
	for (unsigned n = 0; n < 20; n++) {
		t = policy->choose(list, NULL);
		policy->charge(t->account, SLICE);
		*(t == sleeper ? &had : &other) += SLICE;
	}
	is_u64(had <= other + 2 * SLICE, 1,
	       "who slept for ten seconds has one round more, not all");
}

int
main(void)
{
	set_foreach (const struct policy *, p, policies)
		policy = p;
	idle();
	hoards();
	for (unsigned n = 0; n < 60; n++) {
		unsigned accounts = 2 + (unsigned)draw(ACCOUNTS - 1);

		simulate(begin(accounts), EACH_TIME / 10);
		fair(accounts);
	}
	is_u64(lost, 0, "whenever one is ready, one that is ready is chosen");
	is_u64(early, 0, "nobody has more rounds than one that always wants them");
	return done_testing();
}

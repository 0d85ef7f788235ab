/*
 * Accounts, the policy that is chosen, and the last turns.
 */
#include <kern/kern.h>
#include <kern/sched/sched.h>

SET_DECLARE(policies);

struct account *sched_accounts;
enum cut sched_cut;
uint64_t sched_turns;

const struct policy *sched_policy;
uint64_t sched_host, sched_slept;
struct turned sched_trace[SCHED_TRACE];

static uint64_t charged; /* up to this time */

const struct policy *
sched_policy_named(const char *name)
{
	set_foreach (const struct policy *, p, policies)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

void
sched_use(const struct policy *p)
{
	sched_policy = p;
	for (struct account *a = sched_accounts; a; a = a->next) {
		a->credit = 0;
		if (p->join)
			p->join(a);
	}
}

static void
choose_at_boot(void)
{
	const char *name = cmdline_get("sched", "credit");
	const struct policy *p = sched_policy_named(name);

	if (!p && cmdline_get("sched", NULL))
		printf("sched=%s: there is no such policy in this build; it is rr\n", name);
	sched_use(p ? p : sched_policy_named("rr"));
	charged = clock_ns();
}
INITCALL(1, choose_at_boot);

void
sched_join(struct thread *t)
{
	struct account *a = t->account ? t->account : &t->own;

	t->account = a;
	t->runs = RUNS_READY;
	t->since = clock_ns();
	memset(t->spent, 0, sizeof(t->spent));
	t->woken = false;
	if (a->threads++)
		return;
	a->weight = a->weight ? a->weight : WEIGHT_DEFAULT;
	a->credit = 0;
	a->used = 0;
	a->next = sched_accounts;
	sched_accounts = a;
	if (sched_policy->join)
		sched_policy->join(a);
}

void
sched_leave(struct thread *t)
{
	struct account **at = &sched_accounts;

	if (--t->account->threads)
		return;
	while (*at != t->account)
		at = &(*at)->next;
	*at = t->account->next;
}

struct thread *
sched_choose(struct thread *all, struct thread *last)
{
	return sched_policy->choose(all, last);
}

bool
sched_wakes(const struct thread *t)
{
	return sched_policy->wakes && sched_policy->wakes(t);
}

void
sched_turns_to(struct thread *t, enum runs state, uint64_t now)
{
	t->spent[t->runs] += now - t->since;
	t->since = now;
	t->runs = (uint8_t)state;
}

/* What has gone by since the last one. */
static uint64_t
since_charged(void)
{
	uint64_t now = clock_ns(), ns = now - charged;

	charged = now;
	return ns;
}

void
sched_charge(struct thread *t, enum turn how)
{
	uint64_t ns = since_charged();
	struct turned *e = &sched_trace[sched_turns++ % SCHED_TRACE];

	sched_turns_to(t, how == TURN_BLOCKED ? RUNS_BLOCKED : RUNS_READY, charged);
	t->account->used += ns;
	if (sched_policy->charge)
		sched_policy->charge(t->account, ns);
	*e = (struct turned){ .how = how, .cut = sched_cut, .at = charged - ns, .took = ns };
	__builtin_memcpy(e->name, t->name, sizeof(e->name));
}

void
sched_charge_host(void)
{
	sched_host += since_charged();
}

void
sched_charge_idle(void)
{
	sched_slept += since_charged();
}

/*
 * Accounts, the policy that is chosen, and what the monitor shows of both.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <kern/sched/sched.h>

#define TRACE 32u /* turns that are remembered */

SET_DECLARE(policies);

struct account *sched_accounts;
enum cut sched_cut;
uint64_t sched_turns;

static const struct policy *policy;
static uint64_t charged;          /* up to this time */
static uint64_t host_used, slept; /* ns, beside what accounts have used */

static struct turned {
	char name[12];
	uint8_t how, cut;
	uint64_t at, took; /* ns */
} trace[TRACE];

static const struct policy *
policy_named(const char *name)
{
	set_foreach (const struct policy *, p, policies)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

/* Accounts begin anew with it: what they owe each other is the old policy's matter. */
static void
use(const struct policy *p)
{
	policy = p;
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
	const struct policy *p = policy_named(name);

	if (!p && cmdline_get("sched", NULL))
		printf("sched=%s: there is no such policy in this build; it is rr\n", name);
	use(p ? p : policy_named("rr"));
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
	if (policy->join)
		policy->join(a);
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
	return policy->choose(all, last);
}

bool
sched_wakes(const struct thread *t)
{
	return policy->wakes && policy->wakes(t);
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
	struct turned *e = &trace[sched_turns++ % TRACE];

	sched_turns_to(t, how == TURN_BLOCKED ? RUNS_BLOCKED : RUNS_READY, charged);
	t->account->used += ns;
	if (policy->charge)
		policy->charge(t->account, ns);
	*e = (struct turned){ .how = how, .cut = sched_cut, .at = charged - ns, .took = ns };
	__builtin_memcpy(e->name, t->name, sizeof(e->name));
}

void
sched_charge_host(void)
{
	host_used += since_charged();
}

void
sched_charge_idle(void)
{
	slept += since_charged();
}

/* ---- the monitor's ---- */

static unsigned
percent(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned)((part * 1000 / whole + 5) / 10) : 0;
}

static void
show_thread(const struct thread *t, uint64_t weights, uint64_t used)
{
	uint64_t now = clock_ns(), ms[RUNS_STATES];
	const struct account *a = t->account;

	for (unsigned i = 0; i < RUNS_STATES; i++)
		ms[i] = (t->spent[i] + (i == t->runs ? now - t->since : 0)) / 1000000;
	printf("  %-16s %6u %5u %% %5u %% %8ld us %8lu %8lu %8lu\n", t->name, a->weight,
	       percent(a->weight, weights), percent(a->used, used), a->credit / 1000, ms[RUNS],
	       ms[RUNS_READY], ms[RUNS_BLOCKED]);
}

static void
show(void)
{
	uint64_t weights = 0, used = 0;

	for (const struct account *a = sched_accounts; a; a = a->next) {
		weights += a->weight;
		used += a->used;
	}
	printf("%s: %s\n", policy->name, policy->what);
	if (threads)
		printf("  %-16s %6s %7s %7s %11s %8s %8s %8s\n", "", "weight", "part", "had",
		       "credit", "ran ms", "ready ms", "slept ms");
	for (const struct thread *t = threads; t; t = t->next)
		show_thread(t, weights, used);
	printf("the host itself: %lu ms; nobody: %lu ms\n", host_used / 1000000, slept / 1000000);
}

static const char *
words(const struct turned *e)
{
	static const char *const cuts[] = { [CUT_NONE] = "gave way",
					    [CUT_TICK] = "its slice was over",
					    [CUT_ALARM] = "a timer was due",
					    [CUT_WAKE] = "another one woke" };

	return e->how == TURN_BLOCKED ? "waits" : e->how == TURN_ENDED ? "ended" : cuts[e->cut];
}

static int
show_turns(void)
{
	for (uint64_t n = sched_turns < TRACE ? 0 : sched_turns - TRACE; n < sched_turns; n++) {
		const struct turned *e = &trace[n % TRACE];

		printf("  %8lu us: %-12.12s %6lu.%03lu us, %s\n", e->at / 1000, e->name,
		       e->took / 1000, e->took % 1000, words(e));
	}
	return 0;
}

/* The thread of that name: d1, d1.2, e1, as far as a space. */
static struct thread *
named(const char *word)
{
	size_t length = strlen(word);

	for (struct thread *t = threads; t; t = t->next)
		if (!strncmp(t->name, word, length) && t->name[length] == ' ')
			return t;
	return NULL;
}

static int
command_sched(int argc, char **argv)
{
	const struct policy *p = argc == 2 ? policy_named(argv[1]) : NULL;
	struct thread *t = argc == 3 ? named(argv[1]) : NULL;
	uint64_t weight;

	if (argc == 1)
		show();
	else if (p)
		use(p);
	else if (argc == 2 && !strcmp(argv[1], "turns"))
		return show_turns();
	else if (argc != 3 || strncmp(argv[2], "weight=", 7) || parse_u64(argv[2] + 7, &weight) ||
		 !weight || weight > WEIGHT_MAX)
		return -EINVAL;
	else if (!t)
		return -ENOENT;
	else
		t->account->weight = (uint32_t)weight;
	return 0;
}
MONITOR_COMMAND(command_sched, "sched", "[rr | credit | turns | ID weight=N]",
		"who has had the CPU; by which policy; the last turns; a guest's weight");

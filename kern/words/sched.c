/*
 * What the monitor shows of threads and their turns, and lets a person choose.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <kern/sched/sched.h>

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
	printf("%s: %s\n", sched_policy->name, sched_policy->what);
	if (threads)
		printf("  %-16s %6s %7s %7s %11s %8s %8s %8s\n", "", "weight", "part", "had",
		       "credit", "ran ms", "ready ms", "slept ms");
	for (const struct thread *t = threads; t; t = t->next)
		show_thread(t, weights, used);
	printf("the host itself: %lu ms; nobody: %lu ms\n", sched_host / 1000000,
	       sched_slept / 1000000);
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
	for (uint64_t n = sched_turns < SCHED_TRACE ? 0 : sched_turns - SCHED_TRACE;
	     n < sched_turns; n++) {
		const struct turned *e = &sched_trace[n % SCHED_TRACE];

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
	const struct policy *p = argc == 2 ? sched_policy_named(argv[1]) : NULL;
	struct thread *t = argc == 3 ? named(argv[1]) : NULL;
	uint64_t weight;

	if (argc == 1)
		show();
	else if (p)
		sched_use(p);
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

static int
command_threads(int argc, char **argv)
{
	static const char *const states[] = { "new", "ready", "blocked", "ended" };

	if (!threads)
		printf("no threads: the host is idle\n");
	for (const struct thread *t = threads; t; t = t->next)
		printf("%-20s %-8s %-8s %8lu turns%s\n", t->name, t->class->name, states[t->state],
		       t->turns, t == thread_loaded ? ", its FPU is loaded" : "");
	return 0;
}
MONITOR_COMMAND(command_threads, "threads", "", "what the scheduler runs");

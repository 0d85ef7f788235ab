/*
 * The scheduler: round robin over all threads, a slice is what is left until the next tick.
 *
 * Interrupts are off everywhere but in idle(), at preemption points and where a turn runs a guest.
 * So nothing here can be interrupted, and a wake-up can't be lost between the check and the hlt.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <kern/fpu.h>
#include <inc/x86.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/thread.h>

SET_DECLARE(between_turns);

volatile bool need_resched;

static struct thread *threads; /* all of them, linked by `next` */
static struct thread *last;    /* had the last turn */
static struct thread *loaded;  /* whose FPU and DRs the CPU holds */

void
thread_add(struct thread *t)
{
	struct thread **end = &threads;

	ASSERT(t->state == THREAD_NEW);
	memcpy(t->fpu, fpu_reset, sizeof(t->fpu));
	memset(t->dr, 0, sizeof(t->dr));
	t->dr[6] = DR6_RESET;
	t->dr[7] = DR7_RESET;
	t->turns = 0;
	t->next = NULL;
	while (*end)
		end = &(*end)->next;
	*end = t;
	t->state = THREAD_READY;
}

void
thread_wake(struct thread *t)
{
	if (t->state == THREAD_BLOCKED)
		t->state = THREAD_READY;
}

static void
thread_remove(struct thread *t)
{
	struct thread **at = &threads;

	while (*at && *at != t)
		at = &(*at)->next;
	ASSERT(*at == t);
	*at = t->next;
	t->next = NULL;
	t->state = THREAD_ENDED;
	if (last == t)
		last = NULL;
	if (loaded == t) {
		/* Its breakpoints must not outlive it; its registers are replaced before anyone
		 * else runs. */
		debug_registers_clear();
		loaded = NULL;
	}
}

static bool
is_due(const struct thread *t)
{
	return t->class->ready && t->deadline != CLOCK_NEVER &&
	       (!t->deadline || t->deadline <= clock_ns());
}

static struct thread *
next_ready(void)
{
	struct thread *start = last && last->next ? last->next : threads, *t = start;

	if (!t)
		return NULL;
	do {
		if (t->state == THREAD_BLOCKED && is_due(t) && t->class->ready(t))
			t->state = THREAD_READY;
		if (t->state == THREAD_READY)
			return t;
		t = t->next ? t->next : threads;
	} while (t != start);
	return NULL;
}

static void
switch_to(struct thread *t)
{
	if (t == loaded)
		return;
	if (loaded) {
		fpu_save(loaded->fpu);
		debug_registers_save(loaded->dr);
	}
	fpu_restore(t->fpu);
	debug_registers_restore(t->dr);
	loaded = t;
}

/*
 * Serves the interrupts that came while the host worked with interrupts off. Left to a thread, a
 * tick would end its slice before its first instruction, again and again. tests/preempt.t counts
 * between calls of this function, so a call of it stays a call.
 */
NOINLINE void
preempt_point(void)
{
	__asm__ volatile("sti; nop; cli" : : : "memory");
}

bool
sched_step(void)
{
	struct thread *t;

	set_foreach (const struct between_turns *, b, between_turns)
		b->serve();
	t = next_ready();
	if (!t)
		return false;
	clock_tick();
	switch_to(t);
	last = t;
	preempt_point();
	need_resched = false;
	t->turns++;
	switch (t->class->turn(t)) {
	case TURN_AGAIN:
		break;
	case TURN_BLOCKED:
		t->state = THREAD_BLOCKED;
		t->deadline = 0; /* it is asked once, and says when again */
		break;
	case TURN_ENDED:
		thread_remove(t);
		if (t->class->ended)
			t->class->ended(t);
		break;
	}
	return true;
}

NOINLINE void
sched_idle(void)
{
	/* No interrupt comes between sti and hlt: SDM 2B, STI, "delayed until after the next
	 * instruction". */
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* No thread is ready: to the first deadline, or to an interrupt of another device. */
void
sched_sleep(void)
{
	uint64_t until = CLOCK_NEVER;

	for (const struct thread *t = threads; t; t = t->next)
		if (t->state == THREAD_BLOCKED && t->class->ready && t->deadline < until)
			until = t->deadline;
	clock_alarm(until);
	sched_idle();
}

void
sched_loop(void)
{
	for (;;) {
		monitor_input();
		if (!sched_step())
			sched_sleep();
	}
}

static int
command_threads(int argc, char **argv)
{
	static const char *const states[] = { "new", "ready", "blocked", "ended" };

	if (!threads)
		printf("no threads: the host is idle\n");
	for (const struct thread *t = threads; t; t = t->next)
		printf("%-20s %-8s %-8s %8lu turns%s\n", t->name, t->class->name, states[t->state],
		       t->turns, t == loaded ? ", its FPU is loaded" : "");
	return 0;
}
MONITOR_COMMAND(command_threads, "threads", "", "what the scheduler runs");

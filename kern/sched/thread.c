/*
 * Threads and their turns: a policy chooses (kern/sched/sched.h), and a slice is what is left until
 * the next tick, or until one wakes that the policy lets in before.
 *
 * Interrupts are off everywhere but in idle(), at preemption points and where a turn runs a guest.
 * So nothing here can be interrupted, and a wake-up can't be lost between the check and the hlt.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <kern/fpu.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/sched/sched.h>
#include <kern/thread.h>

SET_DECLARE(between_turns);

volatile bool need_resched;

struct thread *threads, *thread_loaded;
static struct thread *last;    /* had the last turn */
static struct thread *running; /* whose turn it is; NULL: nobody's */
static uint64_t began;         /* its turn, in ns */
static uint64_t lets_in;       /* another one, at that time: CLOCK_NEVER */

void
thread_add(struct thread *t)
{
	struct thread **end = &threads;

	ASSERT(t->state == THREAD_NEW);
	memcpy(t->fpu, fpu_reset, sizeof(t->fpu));
	memcpy(t->dr, debug_reset, sizeof(t->dr));
	t->turns = 0;
	t->next = NULL;
	while (*end)
		end = &(*end)->next;
	*end = t;
	t->state = THREAD_READY;
	sched_join(t);
}

/* Not before it has run for SCHED_RATE is a thread's turn over for one that wakes at that time. */
static uint64_t
not_at_once(uint64_t at)
{
	return at > began + SCHED_RATE ? at : began + SCHED_RATE;
}

void
thread_woken(struct thread *t)
{
	t->deadline = 0;
	if (!running || running == t || !sched_wakes(t))
		return;
	lets_in = not_at_once(0);
	if (clock_ns() >= lets_in)
		need_resched = true;
	else
		clock_sooner(lets_in);
}

static void
make_ready(struct thread *t, uint64_t now)
{
	t->state = THREAD_READY;
	t->woken = true;
	sched_turns_to(t, RUNS_READY, now);
}

void
thread_wake(struct thread *t)
{
	if (t->state != THREAD_BLOCKED)
		return;
	thread_woken(t);
	make_ready(t, clock_ns());
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
	sched_leave(t);
	if (last == t)
		last = NULL;
	if (thread_loaded == t) {
		/* Its breakpoints must not outlive it; its registers are replaced before anyone
		 * else runs. */
		debug_registers_clear();
		thread_loaded = NULL;
	}
}

/* Those whose deadline has come are asked; the others, when the turn of who runs is to end. */
static void
wake_due(uint64_t now)
{
	for (struct thread *t = threads; t; t = t->next)
		if (t->state == THREAD_BLOCKED && t->class->ready && t->deadline <= now &&
		    t->class->ready(t))
			make_ready(t, now);
}

static uint64_t
next_deadline(bool (*counts)(const struct thread *t))
{
	uint64_t until = CLOCK_NEVER;

	for (const struct thread *t = threads; t; t = t->next)
		if (t->state == THREAD_BLOCKED && t->class->ready && t->deadline < until &&
		    (!counts || counts(t)))
			until = t->deadline;
	return until;
}

static void
switch_to(struct thread *t)
{
	if (t == thread_loaded)
		return;
	if (thread_loaded) {
		fpu_save(thread_loaded->fpu);
		debug_registers_save(thread_loaded->dr);
	}
	fpu_restore(t->fpu);
	debug_registers_restore(t->dr);
	thread_loaded = t;
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

/*
 * What may end the turn is set behind the preemption point, with interrupts off up to the guest's
 * entry: an alarm that came there would be forgotten with need_resched, and behind it none comes.
 */
static enum turn
turn_of(struct thread *t, uint64_t now)
{
	enum turn how;

	began = now;
	sched_turns_to(t, RUNS, began);
	preempt_point();
	need_resched = false;
	sched_cut = CUT_NONE;
	lets_in = next_deadline(sched_wakes);
	if (lets_in < began + 1000000000 / TICK_HZ)
		clock_sooner(lets_in = not_at_once(lets_in));
	else
		lets_in = CLOCK_NEVER;
	running = t;
	t->woken = false;
	t->turns++;
	how = t->class->turn(t);
	running = NULL;
	if (sched_cut != CUT_TICK && lets_in != CLOCK_NEVER && clock_ns() >= lets_in)
		sched_cut = CUT_WAKE;
	return how;
}

bool
sched_step(void)
{
	uint64_t now;
	enum turn how;
	struct thread *t;

	set_foreach (const struct between_turns *, b, between_turns)
		b->serve();
	now = clock_ns();
	wake_due(now);
	t = threads ? sched_choose(threads, last) : NULL;
	if (!t)
		return false;
	clock_tick();
	switch_to(t);
	last = t;
	how = turn_of(t, now);
	sched_charge(t, how);
	switch (how) {
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
	sched_charge_idle();
}

/* No thread is ready: to the first deadline, or to an interrupt of another device. */
void
sched_sleep(void)
{
	clock_alarm(next_deadline(NULL));
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

/*
 * Who runs: a switch from a process's kernel stack to the scheduler's, and to the next one's.
 *
 * Interrupts are off across a switch. int_depth belongs to the stack it was counted on, so it is
 * kept there.
 */
#include <guest/os/os.h>

struct proc procs[PROCS];
struct proc *current;
volatile int resched;

static uint32_t *scheduler;
static uint8_t stacks[PROCS][KSTACK] __attribute__((aligned(4096)));

uint32_t
proc_stack_top(const struct proc *p)
{
	return (uint32_t)stacks[p - procs + 1];
}

/* Round robin, from the one after the last that ran. */
static struct proc *
next_runnable(void)
{
	static unsigned last;

	for (unsigned i = 1; i <= PROCS; i++) {
		struct proc *p = &procs[(last + i) % PROCS];

		if (p->state == RUNNABLE) {
			last = p - procs;
			return p;
		}
	}
	return NULL;
}

/* The rest of the boot stack's life. */
void
sched_run(void)
{
	for (;;) {
		struct proc *p = next_runnable();

		if (!p) {
			wait_for_interrupt();
			continue;
		}
		p->state = RUNNING;
		current = p;
		resched = 0;
		segment_kernel_stack(proc_stack_top(p));
		space_load(&p->space);
		switch_stacks(&scheduler, p->context);
		current = NULL;
		int_depth = 1;
	}
}

/* Interrupts are off; current->state has been set. Comes back when it runs again. */
void
sched_leave(void)
{
	unsigned depth = int_depth;

	switch_stacks(&current->context, scheduler);
	int_depth = depth;
}

void
sched_yield(void)
{
	int_off();
	current->state = RUNNABLE;
	sched_leave();
	int_on();
}

int
sched_sleep(const void *channel)
{
	int_off();
	if (!current->killed) {
		current->channel = channel;
		current->state = SLEEPING;
		sched_leave();
		current->channel = NULL;
	}
	int_on();
	return current->killed ? -1 : 0;
}

void
sched_wake(const void *channel)
{
	int_off();
	for (struct proc *p = procs; p < procs + PROCS; p++)
		if (p->state == SLEEPING && p->channel == channel)
			p->state = RUNNABLE;
	int_on();
}

/*
 * The kernel stack of a process that has not run yet. switch_stacks() returns to `start`, and that
 * to trap_return:
 *   | edi | esi | ebx | ebp | start | trap_return | struct trapframe |
 */
uint32_t *
sched_new(struct proc *p, void (*start)(void))
{
	uint32_t *stack;

	p->frame = (struct trapframe *)proc_stack_top(p) - 1;
	stack = (uint32_t *)p->frame - 6;
	clear(stack, 6 * 4);
	stack[4] = (uint32_t)start;
	stack[5] = (uint32_t)trap_return;
	return stack;
}

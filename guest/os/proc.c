/* Processes: fork, exit, wait, kill. */
#include <guest/os/os.h>

static int last_pid;

static struct proc *
proc_new(void (*start)(void))
{
	for (struct proc *p = procs; p < procs + PROCS; p++) {
		if (p->state != UNUSED)
			continue;
		clear(p, sizeof(*p));
		p->pid = ++last_pid;
		p->context = sched_new(p, start);
		return p;
	}
	return NULL;
}

/* Process 1. `start` runs in the kernel and ends with an exec(). */
void
proc_first(void (*start)(void))
{
	struct proc *p = proc_new(start);

	if (space_new(&p->space))
		panic("there is no memory");
	for (int i = 0; i < 3; i++)
		p->fd[i] = file_new(F_CONSOLE, O_READ | O_WRITE);
	p->cwd = ROOT_INUM;
	inode_hold(ROOT_INUM);
	p->state = RUNNABLE;
}

/* Where a child begins; trap_return turns interrupts on with the program's eflags. */
static void
fork_return(void)
{
	int_depth = 0;
}

int
proc_fork(void)
{
	struct proc *p = proc_new(fork_return);

	if (!p || space_fork(&p->space, &current->space))
		return -1;
	*p->frame = *current->frame;
	p->frame->eax = 0;
	copy(p->name, current->name, PROC_NAME);
	for (int i = 0; i < FDS; i++)
		if (current->fd[i])
			p->fd[i] = file_share(current->fd[i]);
	p->cwd = current->cwd;
	inode_hold(p->cwd);
	p->parent = current;
	p->state = RUNNABLE;
	return p->pid;
}

/* Orphans go to process 1, which has to expect them in wait(). */
static void
leave_children(void)
{
	for (struct proc *p = procs; p < procs + PROCS; p++) {
		if (p->state == UNUSED || p->parent != current)
			continue;
		p->parent = procs;
		if (p->state == ZOMBIE)
			sched_wake(procs);
	}
}

/* The end of process 1 is the machine's. */
void
proc_exit(int status)
{
	struct space space = current->space;

	if (current == procs)
		console_end((uint32_t)status);
	for (int i = 0; i < FDS; i++)
		if (current->fd[i])
			file_close(current->fd[i]);
	inode_drop(current->cwd);
	int_off();
	space_load(NULL);
	space_free(&space);
	leave_children();
	sched_wake(current->parent);
	current->status = status;
	current->state = ZOMBIE;
	sched_leave();
	panic("a process came back from its end");
}

/*
 * Waits for a child's end. `status`: where in the program's memory its status goes, or 0. -1: no
 * children.
 */
int
proc_wait(uint32_t status)
{
	for (;;) {
		int children = 0;

		for (struct proc *p = procs; p < procs + PROCS; p++) {
			if (p->state == UNUSED || p->parent != current)
				continue;
			children++;
			if (p->state != ZOMBIE)
				continue;
			p->state = UNUSED;
			if (status)
				*(int *)status = p->status;
			return p->pid;
		}
		if (!children || sched_sleep(current))
			return -1;
	}
}

/* It ends on its way back to ring 3. */
int
proc_kill(int pid)
{
	for (struct proc *p = procs; p < procs + PROCS; p++) {
		if (p->state == UNUSED || p->state == ZOMBIE || p->pid != pid)
			continue;
		p->killed = 1;
		int_off();
		if (p->state == SLEEPING)
			p->state = RUNNABLE;
		int_on();
		return 0;
	}
	return -1;
}

/*
 * System calls: the table, and those about processes and memory. Arguments are a program's word, so
 * all are checked.
 */
#include <guest/os/os.h>

static int (*const calls[])(uint32_t a, uint32_t b, uint32_t c) = {
#define X(name) [SYS_##name] = sys_##name,
	SYSCALLS(X)
#undef X
};

void
syscall(struct trapframe *f)
{
	uint32_t n = f->eax;

	f->eax = (uint32_t)-1;
	if (n < SYS_COUNT) {
		int value = calls[n](f->ebx, f->ecx, f->edx);

		if (n != SYS_exec || value < 0)
			f->eax = (uint32_t)value; /* a new program starts with its own registers */
	}
}

int
sys_exit(uint32_t status, uint32_t b, uint32_t c)
{
	proc_exit((int)status);
}

int
sys_fork(uint32_t a, uint32_t b, uint32_t c)
{
	return proc_fork();
}

int
sys_wait(uint32_t status, uint32_t b, uint32_t c)
{
	if (status && !space_may(&current->space, status, sizeof(int), 1))
		return -1;
	return proc_wait(status);
}

int
sys_kill(uint32_t pid, uint32_t b, uint32_t c)
{
	return proc_kill((int)pid);
}

int
sys_getpid(uint32_t a, uint32_t b, uint32_t c)
{
	return current->pid;
}

int
sys_yield(uint32_t a, uint32_t b, uint32_t c)
{
	sched_yield();
	return 0;
}

int
sys_sleep(uint32_t count, uint32_t b, uint32_t c)
{
	uint32_t start = ticks;
	int value = 0;

	int_off(); /* between the comparison and the sleep no tick may come */
	while (!value && ticks - start < count)
		value = sched_sleep((const void *)&ticks);
	int_on();
	return value;
}

/* Pages come at their first touch. A break can only go up. */
int
sys_sbrk(uint32_t bytes, uint32_t b, uint32_t c)
{
	uint32_t old = current->space.brk;

	if (bytes > HEAP_MAX - old)
		return -1;
	current->space.brk = old + round_up(bytes);
	return (int)old;
}

int
sys_frames(uint32_t a, uint32_t b, uint32_t c)
{
	return (int)frame_count();
}

/* The program's argv[], copied, since its memory goes away in between. */
static int
copy_words(uint32_t argv, char *to, char **words)
{
	uint32_t used = 0;

	for (int n = 0; n <= MAX_ARGS; n++) {
		uint32_t from;
		int length;

		if (!space_may(&current->space, argv + (uint32_t)n * 4, 4, 0))
			return -1;
		from = ((const uint32_t *)argv)[n];
		words[n] = to + used;
		if (!from)
			return n;
		length = space_string(&current->space, from, MAX_WORDS - used);
		if (length < 0 || n == MAX_ARGS)
			return -1;
		copy(words[n], (const char *)from, (uint32_t)length + 1);
		used += (uint32_t)length + 1;
	}
	return -1;
}

int
sys_exec(uint32_t path, uint32_t argv, uint32_t c)
{
	char *words[MAX_ARGS + 1], *page = frame_get();
	int argc, value = -1;

	if (!page)
		return -1;
	argc = space_string(&current->space, path, MAX_WORDS) < 0 ? -1
								  : copy_words(argv, page, words);
	if (argc >= 0)
		value = exec((const char *)path, words, argc);
	frame_put(page);
	return value;
}

/*
 * Made to fail under trap-and-emulate: see popf_pair(). The clock's own counter says when ticks are
 * due, whether or not they can come.
 */
int
sys_popf(uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t before, last, now;
	int came;

	popf_pair();
	before = ticks;
	last = clock_count();
	for (int periods = 0; periods < 3; last = now) {
		now = clock_count();
		periods += now > last; /* it has begun again at the top */
	}
	came = ticks != before; /* a tick that sti lets in says nothing of popf */
	sti();
	return came;
}

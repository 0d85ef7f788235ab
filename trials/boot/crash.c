/*
 * Ways to end the host, so that tests and readers can see what it says then.
 */
#include <inc/errno.h>
#include <kern/host.h>
#include <kern/kern.h>

/* Overflows the stack, if `more` says so for long enough; works on after its call: no loop. */
static NOINLINE unsigned
deepen(unsigned n, unsigned more)
{
	volatile char room[256];

	room[n % sizeof(room)] = 1;
	return (n < more ? deepen(n + 1, more) : 0) + (unsigned)room[(n + 1) % sizeof(room)];
}

static int
command_crash(int argc, char **argv)
{
	const char *kind = argc == 2 ? argv[1] : "";
	volatile unsigned zero = 0;

	if (!strcmp(kind, "panic"))
		panic("asked for with %s", "crash panic");
	else if (!strcmp(kind, "assert"))
		ASSERT(zero == 1);
	else if (!strcmp(kind, "stack"))
		zero = deepen(zero, ~zero);
	else if (!strcmp(kind, "ud"))
		__asm__ volatile("ud2");
	else if (!strcmp(kind, "divide"))
		__asm__ volatile("divl %0"
				 :
				 : "r"(0), "a"(1), "d"(0)); /* C may not, so gcc does not */
	else if (!strcmp(kind, "null"))
		zero = *(volatile unsigned *)(uintptr_t)zero;
	else if (!strcmp(kind, "text"))
		*(volatile char *)(uintptr_t)command_crash = 0;
	else if (!strcmp(kind, "nx"))
		((void (*)(void))(uintptr_t)&ticks)();
	else if (!strcmp(kind, "nmi"))
		__asm__ volatile("int $2");
	else if (!strcmp(kind, "spurious")) /* IR7 that no device has raised */
		__asm__ volatile("int $0x27");
	else
		return -EINVAL;
	return 0;
}
MONITOR_COMMAND(command_crash, "crash", "panic|assert|stack|ud|divide|null|text|nx|nmi|spurious",
		"");

/*
 * The end of the host, and the words of exercises that are not done yet.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/kern.h>

#define DEBUG_EXIT_PORT     0xf4   /* QEMU: -device isa-debug-exit,iobase=0xf4,iosize=4 */
#define BOCHS_SHUTDOWN_PORT 0x8900 /* Bochs and QEMU: the letters of "Shutdown" end the machine */
#define PANIC_CODE          3
#define EXERCISES_MAX       64

static unsigned panicking;

static void
stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

void
machine_off(unsigned code)
{
	outl(DEBUG_EXIT_PORT, code);
	for (const char *s = "Shutdown"; *s; s++)
		outb(BOCHS_SHUTDOWN_PORT, (uint8_t)*s);
	printf("zeno: this machine can't be switched off by software; it is halted\n");
	stop();
	__builtin_unreachable();
}

static void
print_cpu(void)
{
	printf("cr0 %08lx  cr2 %016lx  cr3 %08lx  cr4 %08lx  efer %04lx\n", read_cr0(), read_cr2(),
	       read_cr3(), read_cr4(), rdmsr(MSR_EFER));
}

static void
print_side(const char *what)
{
	side_printf("@Z log panic %s\n", what);
}

static NORETURN void
die(uint64_t rip, uint64_t rbp, const char *fmt, va_list ap)
{
	char what[256];
	const char *name;
	uint64_t offset;

	__asm__ volatile("cli");
	printf_capture = NULL;
	vsnprintf(what, sizeof(what), fmt, ap);
	/* Whatever prints the rest may be what is broken: each time less of it is tried. */
	if (panicking++) {
		if (panicking == 2)
			printf("\npanic: %s\n(while it printed the panic before)\n", what);
		print_side(what);
	} else {
		name = symbol_find(rip, &offset);
		printf("\npanic: %s\nat %016lx %s+0x%lx\n", what, rip, name, offset);
		print_side(what);
		print_cpu();
		printf("backtrace:\n");
		backtrace(rip, rbp);
	}
	if (!strcmp(cmdline_get("panic", "stop"), "off"))
		machine_off(PANIC_CODE);
	printf("The host has stopped.\n");
	stop();
	__builtin_unreachable();
}

void
panic(const char *fmt, ...)
{
	uint64_t *rbp = __builtin_frame_address(0);
	va_list ap;

	va_start(ap, fmt);
	/* The caller's place: just behind its call, so one less is in it. */
	die((uint64_t)__builtin_return_address(0) - 1, rbp[0], fmt, ap);
}

void
panic_at(uint64_t rip, uint64_t rbp, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	die(rip, rbp, fmt, ap);
}

static const char *todo[EXERCISES_MAX]; /* said so far */

bool
exercise_missing(const char *id)
{
	for (unsigned i = 0; i < EXERCISES_MAX && todo[i]; i++)
		if (!strcmp(todo[i], id))
			return true;
	return false;
}

void
exercise_todo(const char *id, const char *where)
{
	unsigned i = 0;

	if (exercise_missing(id) && !panicking)
		return;
	while (i < EXERCISES_MAX && todo[i])
		i++;
	if (i < EXERCISES_MAX)
		todo[i] = id;
	printf("exercise %s is not done yet: see %s\n", id, where);
}

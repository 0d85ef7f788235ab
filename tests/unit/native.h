/*
 * Single instructions on the build machine's own CPU, 16, 32 and 64-bit code, in a child process.
 *
 * The child lets the kernel do the switching: its signal handler writes a test's registers, code
 * segment and RFLAGS.TF into the signal frame and returns, which starts the instruction; the trap
 * or fault that ends it is the next signal, whose frame has the results. So one signal per
 * instruction, and no assembly. 32-bit code runs in compatibility mode, through Linux' user code
 * segment 0x23.
 *
 * The instruction's bytes end where a page ends and the next page is not mapped: if the CPU wants
 * more of them than there are, it faults fetching from there, and the error code says so (the
 * page-end method). The handler's own code must not be instrumented nor use thread-local data: an
 * instruction under test may have changed anything below 4 GiB, a sanitizer's shadow memory
 * included.
 */
#pragma once

#ifndef __USE_GNU
#error "define _GNU_SOURCE before the first #include, for the names of REG_*"
#endif
#include <asm/ldt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <vmm/x86/insn.h>
#include <vmm/x86/state.h>

#define NATIVE_WINDOW 512 /* bytes of memory that a test starts with and that come back */

struct native_test {
	uint8_t code[16];
	uint8_t n;    /* bytes of it that are mapped */
	uint8_t mode; /* enum cpu_mode */
	bool memory;  /* load and save the window */
	bool repeat;  /* a string instruction: step until rip moves on */
	uint64_t gpr[GPR_COUNT], rflags;
	uint8_t window[NATIVE_WINDOW];
	/* Results, in place of what was there. */
	uint8_t trap;    /* vector */
	bool wants_more; /* fetch fault right behind the bytes */
	bool ran;
	uint64_t rip;
};

/* Both below 4 GiB, for 32-bit code, and below the shadow memory of the address sanitizer. */
#define NATIVE_CODE 0x60000000ul /* its end, and the hole behind it */
#define NATIVE_DATA 0x50000000ul /* two pages; the window is in the middle */
#define NATIVE_PAGE 4096ul

#define NATIVE_WINDOW_AT (NATIVE_DATA + NATIVE_PAGE - NATIVE_WINDOW / 2)

/* Where the first byte of an instruction of n bytes stands. */
#define NATIVE_START(n) (NATIVE_CODE + NATIVE_PAGE - (n))

/*
 * 16-bit code runs in a segment of the process' local descriptor table that starts at the code
 * page. Its ds and es start so that the window is where 16-bit offsets reach; ss stays flat, and
 * 32-bit.
 */
#define NATIVE_CS16        0x07     /* entry 0 */
#define NATIVE_DS16        0x0f     /* entry 1 */
#define NATIVE_WINDOW16_AT 0x8000ul /* the window's offset in ds and es */

static struct {
	struct native_test *tests;
	unsigned count, at;
	uint8_t *code; /* the code page again, writable */
	greg_t saved[NGREG];
} native;

#define UNINSTRUMENTED __attribute__((no_sanitize("address", "undefined"), noinline, unused))

/* The order of struct cpu_state's registers in a signal frame. */
static const uint8_t native_gregs[GPR_COUNT] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

UNINSTRUMENTED static void
native_copy(volatile uint8_t *to, const volatile uint8_t *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i] = from[i];
}

/* Where the test starts, as an offset in its code segment. */
UNINSTRUMENTED static uint64_t
native_rip(const struct native_test *t)
{
	return NATIVE_START(t->n) - (t->mode == MODE16 ? NATIVE_CODE : 0);
}

UNINSTRUMENTED static uint64_t
native_cs(const struct native_test *t)
{
	return t->mode == MODE16 ? NATIVE_CS16 : t->mode == MODE32 ? 0x23 : 0x33;
}

UNINSTRUMENTED static unsigned
native_ds(const struct native_test *t)
{
	return t->mode == MODE16 && t->memory ? NATIVE_DS16 : 0x2b;
}

UNINSTRUMENTED static void
native_start(greg_t *gregs)
{
	struct native_test *t = &native.tests[native.at];
	uint64_t segments = 0x002b000000000000ull; /* ss; fs and gs stay */

	native_copy(native.code + NATIVE_PAGE - t->n, t->code, t->n);
	if (t->memory)
		native_copy((uint8_t *)NATIVE_WINDOW_AT, t->window, NATIVE_WINDOW);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		gregs[native_gregs[i]] = t->gpr[i];
	gregs[REG_EFL] = t->rflags | FLAG_TF;
	gregs[REG_RIP] = native_rip(t);
	gregs[REG_CSGSFS] = segments | native_cs(t);
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(native_ds(t)) : "memory");
}

UNINSTRUMENTED static void
native_finish(const greg_t *gregs)
{
	struct native_test *t = &native.tests[native.at];
	uint64_t hole = NATIVE_CODE + NATIVE_PAGE;

	t->trap = gregs[REG_TRAPNO];
	t->wants_more = t->trap == VEC_PF && (gregs[REG_ERR] & 0x10) &&
			(uint64_t)gregs[REG_CR2] == hole &&
			(uint64_t)gregs[REG_RIP] == native_rip(t);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		t->gpr[i] = gregs[native_gregs[i]];
	t->rflags = gregs[REG_EFL];
	t->rip = gregs[REG_RIP];
	if (t->memory)
		native_copy(t->window, (uint8_t *)NATIVE_WINDOW_AT, NATIVE_WINDOW);
	t->ran = true;
}

/*
 * A repeated instruction is stepped once per iteration: the next one starts when the handler
 * returns.
 */
UNINSTRUMENTED static bool
native_repeats(const greg_t *gregs)
{
	const struct native_test *t = &native.tests[native.at];

	return t->repeat && gregs[REG_TRAPNO] == VEC_DB &&
	       (uint64_t)gregs[REG_RIP] == native_rip(t);
}

/*
 * Every signal is the end of one test and the start of the next; the first and the last are
 * neither.
 */
UNINSTRUMENTED static void
native_handler(int signal, siginfo_t *info, void *context)
{
	greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signal;
	(void)info;
	if (native.saved[REG_RIP] && native_repeats(gregs))
		return;
	if (!native.saved[REG_RIP]) {
		native_copy((uint8_t *)native.saved, (uint8_t *)gregs, sizeof(native.saved));
	} else {
		native_finish(gregs);
		native.at++;
	}
	if (native.at < native.count)
		native_start(gregs);
	else
		native_copy((uint8_t *)gregs, (uint8_t *)native.saved, sizeof(native.saved));
}

UNINSTRUMENTED static void
native_child(void)
{
	static const int signals[] = { SIGSEGV, SIGILL, SIGTRAP, SIGFPE, SIGBUS };
	struct sigaction action = { .sa_sigaction = native_handler,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	stack_t stack = { .ss_size = 1 << 16 };

	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	sigaltstack(&stack, NULL);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	setitimer(ITIMER_PROF, &(struct itimerval){ .it_value.tv_sec = 60 },
		  NULL); /* a test that never ends must not hang the build */
	__asm__ volatile("int3" ::: "memory", "cc");
	_exit(0);
}

/* The pages that both kinds of code and data live in; NULL, or what failed. */
__attribute__((unused)) static const char *
native_map(void)
{
	int flags = MAP_SHARED | MAP_FIXED_NOREPLACE;
	int file = memfd_create("code", 0);

	if (file < 0 || ftruncate(file, NATIVE_PAGE))
		return "memfd_create";
	native.code = mmap(NULL, NATIVE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (native.code == MAP_FAILED ||
	    mmap((void *)NATIVE_CODE, NATIVE_PAGE, PROT_READ | PROT_EXEC, flags, file, 0) !=
		    (void *)NATIVE_CODE)
		return "mmap of the code page";
	if (mmap((void *)NATIVE_DATA, 2 * NATIVE_PAGE, PROT_READ | PROT_WRITE,
		 flags | MAP_ANONYMOUS, -1, 0) != (void *)NATIVE_DATA)
		return "mmap of the data pages";
	close(file);
	return NULL;
}

/* The descriptors for 16-bit code; false if this kernel has no modify_ldt. */
__attribute__((unused)) static bool
native_map16(void)
{
	struct user_desc code = { .entry_number = 0,
				  .base_addr = NATIVE_CODE,
				  .limit = 0xfffff,
				  .limit_in_pages = 1,
				  .contents = MODIFY_LDT_CONTENTS_CODE };
	struct user_desc data = { .entry_number = 1,
				  .base_addr = NATIVE_WINDOW_AT - NATIVE_WINDOW16_AT,
				  .limit = 0xfffff,
				  .limit_in_pages = 1 };

	return !syscall(SYS_modify_ldt, 1, &code, sizeof(code)) &&
	       !syscall(SYS_modify_ldt, 1, &data, sizeof(data));
}

/* Memory that the child can write results to. */
__attribute__((unused)) static struct native_test *
native_tests(unsigned count)
{
	void *tests = mmap(NULL, count * sizeof(struct native_test), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return tests == MAP_FAILED ? NULL : tests;
}

/*
 * Runs them all; false if the child died, with the number of the test that killed it in *culprit.
 */
__attribute__((unused)) static bool
native_run(struct native_test *tests, unsigned count, unsigned *culprit)
{
	int status;
	pid_t child;

	for (unsigned i = 0; i < count; i++)
		tests[i].ran = false;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		native.tests = tests;
		native.count = count;
		native_child();
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	for (*culprit = 0; *culprit < count && tests[*culprit].ran;)
		++*culprit;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 && *culprit == count;
}

/*
 * Whether user code of this mode runs here at all, by a nop that must come to its #DB. A kernel may
 * have the segments and yet run 64-bit code alone: paravirtual kernels without IA-32 do.
 */
__attribute__((unused)) static bool
native_runs(enum cpu_mode mode)
{
	struct native_test *t = native_tests(1);
	unsigned culprit;

	if (!t || (mode == MODE16 && !native_map16()))
		return false;
	*t = (struct native_test){
		.code = { 0x90 }, .n = 1, .mode = mode, .rflags = FLAG_ONE | FLAG_IF
	};
	t->gpr[RSP] = NATIVE_WINDOW_AT;
	return native_run(t, 1, &culprit) && t->trap == VEC_DB;
}

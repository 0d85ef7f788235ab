/*
 * Envs: processes of the host in ring 3, each with an address space of its own (inc/user.h).
 *
 * env_run() is a call that returns, like an engine's run(): what it returns from is the env's next
 * trap. An env has interrupts on and can't turn them off. Whatever it does wrong ends the env, and
 * nobody else.
 *
 * An env is its own thread (env_start(), the monitor's `run`), or it runs in the turn of a vCPU
 * whose device model it is.
 */
#pragma once

#include <inc/addr.h>
#include <inc/user.h>
#include <kern/kern.h>
#include <kern/thread.h>
#include <kern/trap.h>

/* As enter.asm has them. */
enum env_reg {
	ENV_RAX,
	ENV_RDI,
	ENV_RSI,
	ENV_RDX,
	ENV_RCX,
	ENV_RBX,
	ENV_RBP,
	ENV_R8,
	ENV_REGS = ENV_R8 + 8
};

enum env_event {
	ENV_CALL,  /* a system call: env_call() does those of every env */
	ENV_IRQ,   /* an interrupt of the host's, which has been served */
	ENV_ENDED, /* by its own fault: `end` says which */
};

struct env {
	uint64_t regs[ENV_REGS];
	mfn_t root;
	struct run_page *page; /* in the direct map */
	char name[24];
	char end[200]; /* how it ended, in words; "": it has not */
	unsigned id;   /* of one with a thread: 1.. */
	/* Does a system call that few may make; false: it is none of these. NULL: it has none. */
	bool (*calls)(struct env *e);
	bool waits;                     /* its thread has no turns until somebody wakes it */
	void *machine;                  /* a guest of its own (vmm/dev/vm/); NULL: it has none */
	void (*release)(struct env *e); /* ... which is to go before the env does */
	struct thread thread;
	uint8_t below
		/* where the frame of a late #DB goes (kern/trap.c), below that of the env's trap */
		[2048];
	struct ring_frame frame;
};
_Static_assert(offsetof(struct env, frame) + sizeof(struct ring_frame) == sizeof(struct env),
	       "TSS.RSP0 is its end");
_Static_assert(sizeof(struct env) % 16 == 0, "the CPU aligns RSP0 down to 16");
_Static_assert(sizeof(struct env) <= PAGE_SIZE, "an env is one frame");

/* elf.c: 0, -ENOMEM, -ENOEXEC after a line that says what is wrong with the image. */
int env_load(struct env *e, const void *image, uint64_t size, uint64_t *entry);

/* 0 and a new env, ready to run; as env_load(). Its owner frees it. */
int env_create(struct env **out, const char *name, const void *image, uint64_t size);
void env_free(struct env *e);
enum env_event env_run(struct env *e);
/* A system call that every env has, done: its result is in place. False: it is none of these. */
bool env_call(struct env *e);
void env_end(struct env *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Copies from the env's memory, and to what it may write of it: 0, -EFAULT. */
int env_read(const struct env *e, void *to, uint64_t from, size_t len);
int env_write(const struct env *e, uint64_t to, const void *from, size_t len);
/* The frame of a page of its segments that it may write; MFN_NONE: it is none. */
mfn_t env_frame(const struct env *e, uint64_t va);
/* A line of the env's, of printable characters: 0, -EFAULT, -E2BIG. */
int env_line(const struct env *e, char to[USER_LINE + 1], uint64_t from, uint64_t len);

struct module;

/*
 * run.c: an env with a thread, from a boot module; words for its run page. Its number; -EBUSY,
 * or as env_load().
 */
int env_start(const struct module *m, int argc, char **argv, bool (*calls)(struct env *e));
struct env *env_find(unsigned id); /* NULL: it has ended */
/* Its call is not done: it will be made again after thread_wake(). */
void env_wait(struct env *e);
/* The calls of those that the monitor's `run` starts; NULL: they have no more than any env. */
extern bool (*run_calls)(struct env *e);

/* enter.asm: 0 after a trap from the env; error << 32 | vector if the entry itself faulted. */
uint64_t env_enter(struct ring_frame *f, uint64_t regs[ENV_REGS]);
void env_leave(void);

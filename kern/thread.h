/*
 * The scheduler's unit: one thing that can be given the CPU for a while. A vCPU now, a ring-3 env
 * later.
 *
 * There is one host stack. A thing runs by a call that returns: `turn` runs it until it must give
 * way, blocks or ends, and says which. Nothing returns twice, nothing never returns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum turn {
	TURN_AGAIN,   /* runnable, its slice is over or it gave way */
	TURN_BLOCKED, /* waits for thread_wake() */
	TURN_ENDED,   /* never to be run again; the owner frees it */
};

struct thread;

struct thread_class {
	const char *name;
	enum turn (*turn)(struct thread *);
	/*
	 * Asked of a blocked one at its deadline: may it go on? If not, it has set another
	 * deadline. NULL: only thread_wake() wakes it.
	 */
	bool (*ready)(struct thread *);
	void (*ended)(struct thread *); /* after the last turn; may free */
};

/* What threads that belong together have of the CPU: kern/sched/. Their owner sets `weight`. */
struct account {
	uint32_t weight;  /* against others'; 0: WEIGHT_DEFAULT */
	unsigned threads; /* that have it */
	int64_t credit;   /* the policy's, in ns */
	uint64_t used;    /* ns */
	struct account *next;
};
#define WEIGHT_DEFAULT 256u
#define WEIGHT_MAX     65535u

enum runs { RUNS, RUNS_READY, RUNS_BLOCKED, RUNS_STATES };

struct thread {
	const struct thread_class *class;
	char name[24];
	enum { THREAD_NEW, THREAD_READY, THREAD_BLOCKED, THREAD_ENDED } state;
	struct thread *next; /* in the list of all threads */
	uint64_t turns;
	struct account own, *account;       /* NULL: its own */
	bool woken;                         /* since its last turn */
	uint8_t runs;                       /* enum runs, since `since`; before that spent[] */
	uint64_t since, spent[RUNS_STATES]; /* ns */
	/* clock_ns() at which a blocked one is asked; 0: at once; CLOCK_NEVER */
	uint64_t deadline;
	uint64_t dr[8]; /* DR0-3, DR6, DR7 while it does not run (4 and 5 unused) */
	uint8_t fpu[512] __attribute__((aligned(16))); /* FXSAVE area, SDM 1 10.5 */
};

void thread_add(struct thread *t); /* makes it READY; FPU and DRs at their reset values */
void thread_wake(struct thread *t);
/* Of one that is blocked: it is asked before the next turn, and may end this one for that. */
void thread_woken(struct thread *t);
/* Something is there that it may wait for. */
static inline void
thread_due(struct thread *t)
{
	if (__builtin_expect(t->state == THREAD_BLOCKED, 0))
		thread_woken(t);
}

/* Who is to be served between two turns, and is no thread: BETWEEN_TURNS(gdb_poll). */
struct between_turns {
	void (*serve)(void);
};
#define BETWEEN_TURNS(fn)                                              \
	static const struct between_turns between_turns_##fn = { fn }; \
	SET_ADD(between_turns, between_turns_##fn)

extern uint64_t sched_turns; /* that have ended, ever */
/* Runs one ready thread for one turn (FPU and DRs switched only when the thread changes). False:
 * none is ready. */
bool sched_step(void);
/* Set by the timer IRQ at the end of a slice; cleared by sched_step(). Turns poll it. */
extern volatile bool need_resched;
/*
 * A preemption point of work that a guest or a command can make long: call it at least once in
 * PREEMPT_WORK frames or entries. Handlers of the host's interrupts run there, no other thread
 * does.
 */
void preempt_point(void);
#define PREEMPT_WORK 1024
/* The main loop: monitor input, threads, idle. Never returns. */
void sched_loop(void) __attribute__((noreturn));

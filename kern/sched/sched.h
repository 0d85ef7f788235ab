/*
 * Who has the CPU next, and whom the last turn is charged to.
 *
 * Threads that belong together have one account: a domain's vCPUs. A policy is a registered table,
 * SET_ADD(policies, policy_rr): it is told what each turn has cost and chooses among those that are
 * ready; `sched=NAME` on the boot command line, or the monitor's `sched NAME`, says which.
 *
 * All time is charged to somebody: a turn's from the end of the one before on, so that a thread
 * pays for its own switch; the monitor's commands to the host; sleep to nobody.
 *
 * There is one CPU. The interrupts of a turn are paid for by whoever runs, whomever they are for.
 */
#pragma once

#include <kern/thread.h>

/* Nobody takes the CPU from a thread sooner: to switch costs both, and most it costs who runs. */
#define SCHED_RATE 1000000ul /* ns */

struct policy {
	const char *name, *what;
	/* A new account: what it begins with. NULL: nothing. */
	void (*join)(struct account *a);
	/* A turn of one of its threads has taken that long, in ns. NULL: nobody counts. */
	void (*charge)(struct account *a, uint64_t ns);
	/*
	 * One that is THREAD_READY, of the list `all`; NULL: none is. `last` had the last turn, or
	 * is NULL.
	 */
	struct thread *(*choose)(struct thread *all, struct thread *last);
	/* It is no longer blocked, or will be: is somebody's turn to end for it? NULL: never. */
	bool (*wakes)(const struct thread *t);
};

/* The accounts that threads have, by `next`. */
extern struct account *sched_accounts;
/* Behind t in turn, round the list; t NULL: the first one. The list is not empty. */
static inline struct thread *
sched_after(struct thread *all, const struct thread *t)
{
	return t && t->next ? t->next : all;
}

/* rr.c: the next one of those that are ready, as policy.choose. */
struct thread *sched_in_turn(struct thread *all, struct thread *last);

/* ---- between thread.c, clock.c and the monitor ---- */

/* Why a turn ended that could have gone on. */
enum cut { CUT_NONE, CUT_TICK, CUT_ALARM, CUT_WAKE };
extern enum cut sched_cut;

void sched_join(struct thread *t);
void sched_leave(struct thread *t);
struct thread *sched_choose(struct thread *all, struct thread *last);
bool sched_wakes(const struct thread *t);
/* From now on in another state; *now: in ns. */
void sched_turns_to(struct thread *t, enum runs state, uint64_t now);
/* Time since the last call of one of these is the thread's, the host's, or nobody's. */
void sched_charge(struct thread *t, enum turn how);
void sched_charge_host(void);
void sched_charge_idle(void);
/* All threads, by `next`; the one whose FPU and debug registers the CPU holds. */
extern struct thread *threads, *thread_loaded;

/* What words/sched.c shows: the policy, the last turns, ns beside what accounts have used. */
#define SCHED_TRACE 32u
struct turned {
	char name[12];
	uint8_t how, cut;  /* enum turn, enum cut */
	uint64_t at, took; /* ns */
};
extern struct turned sched_trace[SCHED_TRACE];
extern uint64_t sched_host, sched_slept;
extern const struct policy *sched_policy;
const struct policy *sched_policy_named(const char *name); /* NULL: not in this build */
/* Accounts begin anew with it: what they owe each other is the old policy's matter. */
void sched_use(const struct policy *p);

/*
 * The platform `user`: a PC whose devices are a program in ring 3, its device model (user/dm).
 *
 *   out 3f8 -> exit -> io.c -> model_ask() -> env, in ring 3: uart.c -> USER_RUN -> the guest runs
 *
 * As with KVM the program calls USER_RUN, and returns from it with an exit in the run page
 * (inc/user.h). The domain is the monitor's (`start GUEST devices=user`), and the program is
 * attached to it and sees none of the guest's memory; or it is the program's own, and the memory,
 * too (vmm/dev/vm/vm.c). The program has no thread, or one that sleeps meanwhile: it runs in the
 * vCPU's turn, on the vCPU's account, so the guest stands still, and an exit is a call that
 * returns.
 *
 * The interrupt controllers are Zeno's, as KVM's are the kernel's; the program moves their lines
 * (USER_IRQ_LINE).
 *
 * For one exit it has MODEL_LIMIT_MS of the CPU. When the turn ends before, the exit is put off:
 * the guest's instruction begins anew in its next turn, and finds its answer further on (`asked`).
 */
#pragma once

#include <kern/env/env.h>
#include <vmm/dev/io.h>
#include <vmm/dev/pic.h>
#include <vmm/domain.h>

#define MODEL_LIMIT_MS 100
#define DEADLINE_MIN   100000 /* ns: not so soon that the guest never comes to its next instruction */
#define READ_ONCE(x)   (*(const volatile __typeof__(x) *)&(x))

static inline uint64_t
later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* What the program is asked, as Zeno remembers it. */
struct question {
	uint32_t reason; /* enum run_reason */
	uint16_t port;
	uint16_t size;
	uint32_t data, count;
};

struct user_pc {
	struct domain *domain;
	struct env *env;
	struct pic pic;
	bool intr;         /* what the 8259s say to the CPU */
	uint64_t now;      /* the domain's clock when the program was asked last */
	uint64_t deadline; /* of RUN_TIME, by that clock */
	uint64_t used;     /* of MODEL_LIMIT_MS, in ticks of the TSC, for `asked` */
	struct question asked;
	uint64_t address;     /* ... of a register in memory */
	uint32_t data, done;  /* its answer */
	uint32_t bell;        /* a port; USER_NO_BELL */
	uint64_t rings, told; /* ... how often, and how many it could see when RUN_TIME came */
	bool asks;            /* the program has not answered it yet */
	bool may_wait;        /* an exit is handled that can be put off */
	bool put_off;         /* ... and it is: nothing more is to happen in it; `gpr` is filled */
	bool lent;            /* the CPU, by an engine of outer rings, which loads it anew */
	uint64_t gpr[GPR_COUNT]; /* the guest's, when it was put off */
	bool program; /* the guest is the program's own (vmm/dev/vm/), not the monitor's */
	bool runs;    /* ... which has run it */
	bool over;    /* ... and the vCPU has had its last turn */
	struct user_memory memory[USER_MEMORIES]; /* `bytes`: of what was given */
	struct thread_class thread;               /* the vCPU's; it was `usual` */
	const struct thread_class *usual;
	exit_handle_fn *engines_io;
	exit_handle_fn *handlers[EXIT_COUNT]; /* the engine's, but one */
};

static inline struct user_pc *
user_of(const struct domain *d)
{
	return d->machine;
}

static inline void
pic_changed(struct user_pc *u)
{
	u->intr = pic_pending(&u->pic);
}

/*
 * solutions/5-nested/runpage.c, exercise 5.6. True: the program has answered. False: the domain has
 * ended, or the question is put off.
 */
bool model_ask(struct user_pc *u, struct question q);

/*
 * Whose the domain is that is just made; NULL: the monitor's. And when it goes (vmm/dev/vm/vm.c).
 */
extern struct env *vm_program;
void vm_attach(struct user_pc *u);
void vm_detach(struct user_pc *u);

/* serve.c. The guest's end is the program's doing: one line says whose. */
void model_fault(struct user_pc *u, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A system call that is no answer, done: its result is in place. */
void model_call(struct user_pc *u);
/* It has run for so many ticks of the TSC. */
void model_charge(struct user_pc *u, uint64_t took);

/*
 * The engine contract: what te, bt and the others have in common, and all that the rest of vmm/
 * knows of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/event.h>
#include <vmm/exit.h>

struct mmu_mode;
struct vcpu;

/*
 * run() enters the guest from v->state, returns after the first thing that is not the guest's to
 * do, with v->state true again and *v->exit filled in: e, unless it has logged others meanwhile. It
 * never panics on what a guest did. It counts v->entries where the CPU got into the guest, with
 * interrupts on: where it did not, the run loop lets the host's interrupts in.
 */
struct engine {
	const char *name;
	const char *what;
	uint64_t cr4_guest; /* the bits of CR4 that a guest may set; see engine_cr4() */
	bool long_mode;     /* a guest may have it */
	bool pae_registers; /* mmu=nested: PAE's topmost entries are in the CPU's registers */
	unsigned max_vcpus; /* of a domain */
	uint64_t ram_max;   /* bytes that one may have */
	const char *const *mmu_modes; /* names, the best first, up to a NULL; NULL: no paging */
	/* NULL: this CPU has what it needs; else what it has not, in a line. No probe: any has. */
	const char *(*probe)(void);
	const char *base; /* the engine whose exit handlers serve where it has none; NULL: none */
	int (*init)(struct vcpu *v); /* allocates v->engine_data; 0, -ENOMEM, -ENODEV */
	void (*free)(struct vcpu *v);
	void (*load)(struct vcpu *v); /* before the first run() after another vCPU's */
	void (*run)(struct vcpu *v, struct exit *e);
	/* Fills these groups of v->state (vcpu.h). NULL: all are true behind each exit. */
	void (*fetch)(struct vcpu *v, unsigned groups);
	/*
	 * v->state is what INIT leaves of a CPU: the engine puts there what it wants otherwise, and
	 * forgets what it was to deliver. NULL where max_vcpus is 1.
	 */
	void (*reset)(struct vcpu *v);
	const struct insn *(*insn)(
		struct vcpu *v); /* the exit's, if it is known; NULL: decode it */
	/* Brings an event to the guest before its next instruction. */
	enum injection (*inject)(struct vcpu *v, const struct event *event);
	/*
	 * An interrupt waits, and the guest takes none now: exit as soon as it does
	 * (EXIT_WINDOW_IRQ). NULL: the engine sees v->irq_pending, and everything that ends the
	 * waiting is an exit.
	 */
	void (*window)(struct vcpu *v);
	/* d->window has moved, in the middle of an exit; NULL: the engine does not mind. */
	void (*window_moved)(struct vcpu *v);
	/*
	 * The memory operand of this exit's decoded instruction, in words: how long they are. NULL:
	 * no words.
	 */
	size_t (*operand)(struct vcpu *v, char *buf, size_t size);
	/*
	 * The translation of the code at an address, or totals for 0, in lines from 0 on; NULL: it
	 * translates none.
	 */
	bool (*show)(struct vcpu *v, uint64_t address, unsigned line, char *buf, size_t size);
	/*
	 * Reads from what show() tells of, by its address in the window; how much there is of it.
	 * NULL like show.
	 */
	size_t (*peek)(struct vcpu *v, uint64_t address, void *buf, size_t len);
	/*
	 * For a debugger. The one-byte instruction that is an exit anywhere while it has the vCPU
	 * (EXIT_EXCEPTION, with the instruction's name); 0: int3.
	 */
	uint8_t breakpoint;
	/*
	 * The vector of what the CPU itself delivers at the next entry; -1: nothing. NULL: inject()
	 * has done all. The run loop acknowledges no interrupt while there is one. An engine that
	 * has this makes an exit of each of STEP_EXCEPTIONS while v->debug.step.
	 */
	int (*injected)(struct vcpu *v);
};

/* Each whose frame would have the debugger's TF; int3 and into have no TF, for debug_landing(). */
#define STEP_EXCEPTIONS (~0u & ~(1u << VEC_BP | 1u << VEC_OF))

/* create/engines.c, by SET_ADD(engines, te_engine). NULL: no such engine in this build. */
const struct engine *engine_find(const char *name);
/* te, where it is in this build, else the first that this CPU has, else the first. */
const struct engine *engine_default(void);

/* The first of the engine's MMU modes that is in this build; NULL: none is. */
const struct mmu_mode *engine_mode(const struct engine *engine);
/*
 * The bits of CR4 that a guest may set: the engine's, as far as its MMU mode (or NULL) goes along.
 */
uint64_t engine_cr4(const struct engine *engine, const struct mmu_mode *mode);
bool engine_has_mode(const struct engine *engine, const struct mmu_mode *mode);

/*
 * A virtual CPU: its state, its engine, its thread.
 */
#pragma once

#include <inc/addr.h>
#include <kern/kern.h>
#include <kern/paging.h>
#include <kern/thread.h>
#include <vmm/dispatch.h>
#include <vmm/engine.h>
#include <vmm/exit.h>
#include <vmm/mem/mmu.h>
#include <vmm/x86/state.h>

struct domain;
struct exit_record;
struct p2m_entry;

/* What a debugger has to do with a vCPU (gdb_run.c); all false without one. */
struct vcpu_debug {
	bool held;     /* the debugger keeps it from running */
	bool parked;   /* could run, once it is no longer held */
	bool announce; /* the debugger is to be told that there is a new one */
	bool step;     /* stops after one instruction */
	bool waits;    /* stopped while it waited for an interrupt */
	bool wide;     /* the debugger takes it for an amd64 */
};

/* The host's own TLB (vmm/mem/tlb.h). */
struct tlb_entry {
	uint64_t tag;  /* linear page ^ key, and a bit for each kind of access that is allowed */
	uint8_t *page; /* in the direct map */
	const struct p2m_entry *frame;
	uint32_t gfn;
};
#define TLB_ENTRIES (PAGE_SIZE / sizeof(struct tlb_entry))
struct tlb {
	uint64_t generation; /* counts flushes */
	uint64_t key;  /* what it is in bits 63:48, which a canonical address has no use for */
	uint64_t code; /* counts entries for fetches that have gone, and flushes */
	struct tlb_entry *entry; /* one frame */
};

/*
 * State in groups. General registers, rip, rflags, the event and what holds interrupts back are
 * always true behind an exit. The others an engine may fetch when a handler asks, and write back
 * when it was told of a change: a VMCS is read a field at a time. For te and bt all are always
 * there, and asking costs a test.
 */
enum state_group {
	STATE_SEG = 1,    /* segment registers, LDTR, TR */
	STATE_TABLES = 2, /* GDTR, IDTR */
	STATE_CR = 4,     /* control registers, EFER, PAE's registers */
	STATE_DR = 8,
	STATE_MSR = 16, /* the others of struct cpu_state, XCR0 among them */
	STATE_ALL = 31,
};

/* What other CPUs have sent, and its next turn takes. */
#define SIGNAL_INIT 1u
#define SIGNAL_SIPI 2u
#define SIGNAL_NMI  4u

struct vcpu {
	struct cpu_state state; /* one truth: what the guest would see */
	/* What there may be to think of before the guest runs: a turn asks once for all of it. */
	union {
		struct {
			bool irq_pending; /* an interrupt waits for it: platform_lines() says so */
			bool debugged;    /* a debugger has it */
			bool watched;     /* by vcpu_watch, or by somebody who streams each exit */
			uint8_t signals;  /* SIGNAL_ bits */
		};
		uint32_t held_up;
	};
	/* ... and for an engine with hardware, which asks so for what makes an entry special. */
	union {
		struct {
			uint8_t dirty; /* groups of the state that it must write back */
			bool flush; /* the CPU may hold more in its TLB than the root allows now */
			bool tlb_used; /* tlb_fill() has put something into the host's own TLB */
			bool special;  /* an event, what holds interrupts back, a window */
		};
		uint32_t work;
	};
	uint8_t valid; /* groups of the state that are there */
	struct thread thread;
	struct domain *domain;
	struct vcpu *next; /* of its domain */
	unsigned number;   /* in its domain, from 0 on */
	/* the CPU's tables while it runs; slot 260 has its descriptor tables' shadows */
	mfn_t root;
	uint64_t flat[4]; /* the root's first four GiB while paging is off: linear = gpa */
	void *mmu_data;   /* what the MMU mode has made of its paging; NULL: nothing yet */
	const struct engine *engine;
	exit_handle_fn *const *handlers; /* the engine's, by exit reason */
	void *engine_data;
	void *pv;      /* what Xen's services know of it (vmm/pv/pv.h); NULL: it has none */
	void *control; /* the page of the CPU's own that it runs by, of an engine with hardware */
	uint64_t streamed; /* up to which exit the side channel has been told */
	uint64_t exits;    /* total; the next record's seq is exits + 1 */
	uint64_t exits_by[EXIT_COUNT];
	struct exit *exit;        /* the one being handled, or the last one; in the log */
	uint64_t entries;         /* of the CPU into the guest; what the host did alone is none */
	struct exit_record *log;  /* one frame */
	struct exit_record *last; /* of the exit being handled; host interrupts have none */
	uint64_t began; /* RFLAGS when the instruction of this exit began: TF makes its step */
	uint64_t asked; /* 1 + sched_turns when vcpu_ready() found an interrupt for it */
	uint8_t sipi;   /* the vector of the start-up IPI */
	struct vcpu_debug debug;
	struct page_fault page_fault; /* met by the host while it did something for the guest */
	struct tlb tlb;
};
_Static_assert(sizeof(struct vcpu) <= PAGE_SIZE, "a vcpu is one frame");

/* run.c: who looks at what is fetched, and behind an exit and its handler: NULL, or poison=1. */
struct vcpu_watch {
	void (*fetched)(struct vcpu *v, unsigned groups);
	void (*exited)(struct vcpu *v);
	void (*handled)(struct vcpu *v);
};
extern const struct vcpu_watch *vcpu_watch;
void vcpu_fetch(struct vcpu *v, unsigned groups);
enum verdict vcpu_at_4g(struct vcpu *v); /* rip has come to the next 4 GiB; RESUME */

/* A handler asks for the groups that it reads or changes. */
static inline void
vcpu_need(struct vcpu *v, unsigned groups)
{
	if (__builtin_expect(groups & ~v->valid, 0))
		vcpu_fetch(v, groups & ~v->valid);
}

/* ... and says which it has changed. */
static inline void
vcpu_changed(struct vcpu *v, unsigned groups)
{
	v->dirty |= groups;
}

/* The guest's CPL (SDM 3A 5.5: that of CS; SS's DPL equals it in every mode): of STATE_SEG. */
static inline unsigned
vcpu_cpl(const struct vcpu *v)
{
	return ATTR_DPL(v->state.seg[SEG_SS].attr);
}

/* run.c */
enum turn vcpu_turn(struct thread *t);
void vcpu_run(struct vcpu *v);
bool vcpu_ready(struct thread *t);
enum verdict exit_handle(struct vcpu *v, struct exit *e);
bool interrupt_comes_first(struct vcpu *v, uint64_t shadow_at, const struct exit *e);
bool debug_trap_due(struct vcpu *v, struct exit *e); /* the #DB of what ran before is due now: *e */
void debug_trap(struct vcpu *v, struct exit *e);     /* that #DB, of v->pending_debug */
/*
 * What goes with the end of an instruction that Zeno has done: its #DB if the guest steps, RF off,
 * shadows over. Called by vcpu_advance(); call it where rip goes elsewhere than to the next one.
 */
static inline void
vcpu_step(struct vcpu *v)
{
	if (v->began & FLAG_TF)
		v->state.pending_debug |= DR6_BS;
}

static inline void
vcpu_done(struct vcpu *v)
{
	v->state.sti_shadow = v->state.mov_ss_shadow = false;
	v->state.rflags &= ~(uint64_t)FLAG_RF;
	vcpu_step(v);
}

/*
 * Moves rip past the instruction of this exit. Advancing is a decision: call it only where the
 * effect of the instruction is complete. An exit whose instruction was never decoded has no length:
 * the host's bug. RESUME, for a handler that ends with this.
 */
static inline enum verdict
vcpu_advance(struct vcpu *v, const struct exit *e)
{
	unsigned len = e->insn_len;

	ASSERT(len >= 1 && len <= EXIT_INSN_MAX);
	v->state.rip += len;
	vcpu_done(v);
	return __builtin_expect((uint32_t)v->state.rip < len, 0) ? vcpu_at_4g(v) : RESUME;
}

/*
 * What a guest's registers are while Zeno acts for it: in the CPU's own frame and on the host's
 * stack, where no exit is made (spot.inc), or in v->state.
 */
#pragma once

#include <vmm/pv/pv.h>

/* The flags that are a guest's own. */
#define PV_OWN_FLAGS                                                                               \
	((uint64_t)FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_DF | FLAG_OF | \
	 FLAG_RF | FLAG_AC | FLAG_ID)

/* What the CPU leaves of the guest, and finds. */
static inline void
pv_keep_frame(struct cpu_state *s, const struct ring_frame *f)
{
	s->rip = f->rip;
	s->rflags = f->rflags;
	s->gpr[RSP] = f->rsp;
	s->seg[SEG_CS].sel = (uint16_t)f->cs;
	s->seg[SEG_SS].sel = (uint16_t)f->ss;
}

static inline void
pv_give_frame(const struct cpu_state *s, struct ring_frame *f)
{
	f->rip = s->rip;
	f->cs = s->seg[SEG_CS].sel;
	f->rflags = (s->rflags & PV_OWN_FLAGS) | FLAG_IF | FLAG_ONE;
	f->rsp = s->gpr[RSP];
	f->ss = s->seg[SEG_SS].sel;
}

/*
 * The registers that are not in the CPU any more, and not in its frame; of a trap the call's are as
 * they were. spot.inc pushes all but the call's end.
 */
struct pv_spot {
	struct pv_call call;
	uint64_t rcx, r11;
};
_Static_assert(offsetof(struct pv_spot, rcx) == 9 * sizeof(uint64_t), "spot.inc's pushes");

/* How the guest goes on: by sysret or iretq, or it is an exit. */
enum pv_way { PV_EXITS, PV_SYSRET, PV_IRETQ };

void pv_trap(void);                          /* spot.inc: where all traps lead */
enum pv_way pv_answer(struct pv_spot *spot); /* spot.c: a call ... */
enum pv_way pv_raise(struct pv_spot *spot);  /* ... a fault */

/* hypercalls.c: by number; and those that may be answered so, a bit for each. */
typedef int64_t pv_call_fn(struct vcpu *v, struct pv_call *c);
extern pv_call_fn *pv_calls[XEN_HYPERCALL_COUNT];
extern uint64_t pv_at_once;

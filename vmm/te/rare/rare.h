/*
 * What te does rarely: each file here answers one question, and nobody needs it to follow a trap
 * from the guest to its effect and back.
 */
#pragma once

#include <vmm/te/te.h>

/* vector.c */
bool te_vector_writes(const struct insn *i);
unsigned te_vector_alignment(const struct insn *i);

/*
 * bounce.c: the CPU does the instruction of this exit, in one step, on copies of the pages that it
 * is refused. RESUME, FAULTED; STOP: it can't be done so, and nothing has happened.
 */
enum verdict te_bounce(struct vcpu *v, const struct exit *exit);

/* breakpoints.c */
void te_arm_breakpoints(struct vcpu *v);
void te_watch(struct vcpu *v, uint64_t linear, size_t size, bool write);
uint32_t te_breakpoints_at(const struct vcpu *v, uint64_t rip);
bool te_breakpoint_hit(struct vcpu *v, struct exit *e);

/* lazy.c */
void te_look_at_gdt(struct vcpu *v, bool sync);
void te_written_beside(struct vcpu *v); /* the frame of its GDT, but not that */

/* unsupported.c */
enum verdict te_exit_entry_failed(struct vcpu *v, struct exit *e);
enum verdict te_exit_cache(struct vcpu *v, struct exit *e);

/* verify.c */
enum verdict te_verify(struct vcpu *v, struct exit *e);
enum verdict te_arpl(struct vcpu *v, struct exit *e);

/*
 * narrow.c, load.asm: ring_enter() for a stack of 16 bits, from a stack of Zeno's whose address has
 * the upper half of the guest's ESP.
 */
uint64_t te_enter_narrow(struct ring_frame *f, uint64_t gpr[], uint64_t stack);
uint64_t te_narrow_stack(uint64_t esp);

/*
 * What holds interrupts back, and which #DB waits, on its way into the VMCS and back. Most often
 * nothing does: then an entry writes none of it, and an exit reads one field (run() in vmx.c).
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/vmx/vmx.h>

/*
 * SDM 3C 27.3.1.5: under a shadow, a step that is due must be among what is pending, and none
 * else.
 */
void
vmx_held_to_vmcs(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);
	struct cpu_state *s = &v->state;
	uint64_t pending = s->pending_debug & (DR6_HITS | DR6_BS);

	if (!((s->sti_shadow | s->mov_ss_shadow | s->nmi_blocked) | s->pending_debug |
	      x->interruptibility | x->pending_debug))
		return; /* there is nothing, and was nothing before */
	if (s->sti_shadow || s->mov_ss_shadow)
		pending = (pending & DR6_HITS) | (s->rflags & FLAG_TF ? DR6_BS : 0);
	if (pending & DR6_HITS)
		pending |= PENDING_ENABLED;
	vmx_put(GUEST_PENDING_DEBUG, &x->pending_debug, pending);
	s->pending_debug = 0;
	vmx_put(GUEST_INTERRUPTIBILITY, &x->interruptibility, vmx_interruptibility(s));
}

void
vmx_held_from_vmcs(struct vcpu *v)
{
	struct vmx *x = vmx_of(v);
	struct cpu_state *s = &v->state;
	uint64_t held = vmcs_read(GUEST_INTERRUPTIBILITY);

	s->sti_shadow = held & SHADOW_STI;
	s->mov_ss_shadow = !!(held & SHADOW_MOV_SS);
	s->nmi_blocked = !!(held & SHADOW_NMI);
	x->interruptibility = held;
	x->pending_debug = vmcs_read(GUEST_PENDING_DEBUG);
	s->pending_debug = x->pending_debug & (DR6_HITS | DR6_BS);
}

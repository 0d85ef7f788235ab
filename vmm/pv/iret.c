/*
 * Back from a handler: HYPERVISOR_iret (xen.h, struct iret_context, at the kernel's RSP). An RPL of
 * 3 in CS means the user, and its root.
 */
#include <inc/errno.h>
#include <vmm/pv/pv.h>

#define RPL 3u

int64_t
pv_call_iret(struct vcpu *v, struct pv_call *c)
{
	struct pv *pv = pv_of(v);
	struct cpu_state *s = &v->state;
	struct xen_iret_context frame;
	bool user;

	if (c->inner)
		return -EINVAL; /* the calls behind it would be another context's */
	c->jumped = true;
	if (pv_read(v, &frame, s->gpr[RSP], sizeof(frame))) {
		c->verdict = exit_stop(v, v->exit, "pv.md#ends", "iret with no frame at %lx",
				       s->gpr[RSP]);
		return 0;
	}
	user = (frame.cs & RPL) == RPL;
	if (user && !mfn_ok(pv->user_root)) {
		c->verdict = exit_stop(v, v->exit, "pv.md#ends",
				       "iret to its user, which has no page tables");
		return 0;
	}
	s->rip = frame.rip;
	s->rflags = frame.rflags;
	s->seg[SEG_CS].sel = (uint16_t)(frame.cs | RPL); /* whether there is one the CPU says */
	s->seg[SEG_SS].sel = (uint16_t)(frame.ss | RPL);
	s->gpr[RSP] = frame.rsp;
	s->gpr[RAX] = frame.rax;
	if (!(frame.flags & XEN_VGCF_IN_SYSCALL)) {
		s->gpr[R11] = frame.r11;
		s->gpr[RCX] = frame.rcx;
	}
	pv->info->upcall_mask = !(frame.rflags & FLAG_IF);
	if (user)
		pv_switch_root(v, true);
	return 0;
}

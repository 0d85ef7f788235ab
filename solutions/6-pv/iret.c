/*
 * Back from a handler, and between the kernel's address space and its user's: exercise 6.3.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/exitlog.h>
#include <vmm/pv/pv.h>

#define RPL 3u

/* EXERCISE 6.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 6.0 */

void
pv_switch_root(struct vcpu *v, bool user)
{
	/*
	 * EXERCISE 6.3a: another root
	 * Holds: kernel or user is who runs next, in its own address space, and Zeno's books and
	 *  the CPU agree on that.
	 * Beware: who is already there may have another root all the same. Each of the two has a
	 *  base of GS of its own.
	 * Manual: SDM 3A "CR3"; SDM 2B "SWAPGS"; arch-x86/xen-x86_64.h
	 *  "HYPERVISOR_set_segment_base".
	 * Tools: invlpg(), mfn_to_hpa(), pv_of(), pv_swap_gs(), write_cr3()
	 * Hint: which three places know the root, and who reads which of them?
	 * Hint: a day shift and a night shift share a room and a drawer with two halves. The halves
	 *  are turned when the shift changes, not whenever somebody looks at the clock.
	 * Hint: on a machine its kernel does so itself: swapgs as the first instruction of an entry
	 *  from ring 3, and not of one from ring 0; then mov to CR3.
	 * until then: (void)v; (void)user;
	 */
	struct pv *pv = pv_of(v);

	if (pv->user != user)
		pv_swap_gs(v);
	pv->user = user;
	v->root = user ? pv->user_root : pv->kernel_root;
	write_cr3(mfn_to_hpa(v->root).v);
	/* END EXERCISE 6.3a */
}

int64_t
pv_call_iret(struct vcpu *v, struct pv_call *c)
{
	struct cpu_state *s = &v->state;
	struct xen_iret_context frame;

	if (c->inner)
		return -EINVAL; /* the calls behind it would be another context's */
	c->jumped = true;
	s->nmi_blocked = false;
	if (pv_read(v, &frame, s->gpr[RSP], sizeof(frame))) {
		c->verdict = exit_stop(v, v->exit, "pv.md#ends", "iret with no frame at %lx",
				       s->gpr[RSP]);
		return 0;
	}
	/*
	 * EXERCISE 6.3b: iret
	 * Holds: the guest goes on as its frame says, the kernel or its user, with events let in or
	 *  not; or it has ended, if there is nobody to go on.
	 * Beware: whatever the frame says, ring 3 comes of it. Not all registers in it are always
	 *  meant. Whether its selectors and its rip are any, the CPU says at the entry.
	 * Manual: arch-x86/xen-x86_64.h "HYPERVISOR_iret", of Debian's libxen-dev.
	 * Tools: exit_stop(), FLAG_IF, mfn_ok(), pv_is_guests(), pv_switch_root(),
	 *  XEN_VGCF_IN_SYSCALL
	 * Hint: by what does Zeno know a frame that goes to the user?
	 * Hint: a return ticket: a place, a class, and luggage; but who came on foot (by syscall)
	 *  has left two pieces at home, and is to have those that he carries now.
	 * Hint: Lab 1B's iret of te: it compares the RPL of CS in the frame with the ring that it
	 *  shows, lets the CPU's own IF alone, and takes ESP and SS only where the ring changes.
	 * until then: (void)s; domain_stop(v->domain, "exercise 6.3 is not done");
	 */
	struct pv *pv = pv_of(v);
	bool user = (frame.cs & RPL) == RPL;

	if (user && !mfn_ok(pv->user_root)) {
		c->verdict = exit_stop(v, v->exit, "pv.md#ends",
				       "iret to its user, which has no page tables");
		return 0;
	}
	s->rip = frame.rip;
	s->rflags = frame.rflags;
	s->seg[SEG_CS].sel = (uint16_t)(frame.cs | RPL);
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
	/* END EXERCISE 6.3b */
	return 0;
}

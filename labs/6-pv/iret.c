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
	 */
	exercise_todo("6.3", "handouts/lab6a.md#ex-6-3");
	(void)v;
	(void)user;
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
	 */
	exercise_todo("6.3", "handouts/lab6a.md#ex-6-3");
	(void)s;
	domain_stop(v->domain, "exercise 6.3 is not done");
	/* END EXERCISE 6.3b */
	return 0;
}

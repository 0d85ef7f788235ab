/*
 * From a port's bit to the kernel's upcall, and back: exercise 7.2.
 *
 *   pending[port] --- unless mask[port] ---> pending_sel[port / 64] ---> upcall_pending
 *                                                 when upcall_mask is 0 ---> the callback runs
 *
 * All of these are in the guest's memory. It clears bits, masks and unmasks without asking; Zeno
 * looks behind each exit whether the callback is due.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <vmm/pv/events/port_ops.h>

/* EXERCISE 7.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 7.0 */

/* Its bit is new, or it is no longer masked: up to whom it tells. */
static void
tell(struct pv_ports *p, unsigned port)
{
	/*
	 * EXERCISE 7.2a: up to the vCPU
	 * Holds: if the guest wants to hear of this port, its vCPU has an upcall to come that
	 *  leads there. Whoever waits for the port wakes, even if it is masked.
	 * Beware: a kernel that has masked all upcalls wants this one later. What it has not
	 *  looked at yet is not told anew.
	 * Manual: xen.h "struct vcpu_info", "struct shared_info", of Debian's libxen-dev.
	 * Tools: pv_port_at(), pv_port_bit(), pv_port_tells(), PV_VCPUS
	 */
	exercise_todo("7.2", "handouts/lab7a.md#ex-7-2");
	(void)p;
	(void)port;
	/* END EXERCISE 7.2a */
}

void
pv_port_raise(struct pv_ports *p, unsigned port)
{
	/*
	 * EXERCISE 7.2b: an event
	 * Holds: the port is pending; its vCPU has been told, once for all that came before the
	 *  guest has looked.
	 * Beware: masks do not lose an event. A storm of a million is one.
	 * Manual: xen.h "struct shared_info", of Debian's libxen-dev.
	 * Tools: pv_port_bit(), pv_port_has_peer(), pv_port_is_pending(), tell()
	 */
	exercise_todo("7.2", "handouts/lab7a.md#ex-7-2");
	(void)p;
	(void)port;
	(void)tell;
	/* END EXERCISE 7.2b */
}

int
pv_op_unmask(struct pv_ports *p, void *arg)
{
	uint32_t port = ((struct xen_evtchn_unmask *)arg)->port;

	/*
	 * EXERCISE 7.2c: unmask, and look again
	 * Holds: the port is masked no longer; what came while it was is heard of now. 0; a number
	 *  that no port can have: -EINVAL. Of a closed port nobody hears; either answer will do.
	 * Beware: what was not masked has been told before. The mask is the guest's memory, and so
	 *  is what lies behind it.
	 * Manual: event_channel.h "EVTCHNOP_unmask", of Debian's libxen-dev.
	 * Tools: pv_port_at(), pv_port_bit(), pv_port_is_pending(), PV_VCPUS, tell(), XEN_PORTS
	 */
	exercise_todo("7.2", "handouts/lab7a.md#ex-7-2");
	(void)p;
	(void)port;
	(void)tell;
	return -ENOSYS;
	/* END EXERCISE 7.2c */
}

/* SCHEDOP_block: whether its vCPU may sleep now. */
bool
pv_may_sleep(struct xen_vcpu_info *info)
{
	/*
	 * EXERCISE 7.2d: before it sleeps
	 * Holds: upcalls are let in; and whether none has come, so that the vCPU may wait for one.
	 * Beware: a kernel masks, looks for work, finds none, and blocks. An event that has come
	 *  between its look and its call would be slept over.
	 * Manual: sched.h "SCHEDOP_block", of Debian's libxen-dev.
	 * Tools: upcall_mask, upcall_pending of inc/xen.h, xen_shared_info of inc/xen_events.h
	 */
	exercise_todo("7.2", "handouts/lab7a.md#ex-7-2");
	(void)info;
	return false;
	/* END EXERCISE 7.2d */
}

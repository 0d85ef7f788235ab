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
	 * Hint: there are two masks. Which of them is about a port, and who looks at the other
	 *  one?
	 * Hint: a lamp for each floor, and one bell for the house. Who switches the lamp on, and
	 *  when does the bell ring?
	 * Hint: an 8259 keeps requests apart from its mask, too: a line that is masked is not
	 *  lost.
	 * until then: (void)p; (void)port;
	 */
	const struct pv_port *e = pv_port_at(p, port);
	unsigned vcpu = e ? e->vcpu : 0;
	struct xen_vcpu_info *info = p->info[vcpu];
	uint64_t floor = pv_port_bit(port / 64);

	if (!(p->shared->mask[port / 64] & pv_port_bit(port)) && !(info->pending_sel & floor)) {
		info->pending_sel |= floor;
		info->upcall_pending = 1;
	}
	pv_port_tells(p, vcpu, port);
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
	 * Hint: what does the guest know of a second event if it has not taken the first one?
	 * Hint: the flag on a letter box: it is up, however many letters are in there.
	 * Hint: an edge-triggered line sets a bit of the 8259's request register, which may be
	 *  set.
	 * until then: (void)p; (void)port; (void)tell;
	 */
	if (pv_port_is_pending(p, port))
		return;
	p->shared->pending[port / 64] |= pv_port_bit(port);
	tell(p, port);
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
	 * Hint: an event has come while the port was masked. Which bit says so, and who looks at
	 *  it?
	 * Hint: whoever takes the cotton wool out of his ears looks at the letter box, too.
	 * Hint: Linux enables interrupts on a machine, and the CPU does this by itself, since the
	 *  line is still up. Here it is a bit.
	 * until then: (void)p; (void)port; (void)tell; return -ENOSYS;
	 */
	uint64_t bit = pv_port_bit(port);

	if (port >= XEN_PORTS)
		return -EINVAL;
	if (!pv_port_at(p, port) || !(p->shared->mask[port / 64] & bit))
		return 0;
	p->shared->mask[port / 64] &= ~bit;
	if (pv_port_is_pending(p, port))
		tell(p, port);
	return 0;
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
	 * Hint: which of the two must be done first?
	 * Hint: whoever hangs up the coat and looks for post afterwards misses none.
	 * Hint: `sti` and `hlt` are one step for the same reason: SDM 2B "STI".
	 * until then: (void)info; return false;
	 */
	info->upcall_mask = 0;
	return !info->upcall_pending;
	/* END EXERCISE 7.2d */
}

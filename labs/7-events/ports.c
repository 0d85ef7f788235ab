/*
 * The ports of a domain: a new one, what is sent there, its end: exercise 7.1. All other operations
 * are made of these (vmm/pv/events/ports.c).
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <vmm/pv/events/port_ops.h>

/* EXERCISE 7.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 7.0 */

/* Its number; -ENOSPC, -ENOMEM. */
int
pv_port_new(struct pv_ports *p, struct pv_port as)
{
	/*
	 * EXERCISE 7.1a: a new port
	 * Holds: the lowest port that is closed is what `as` says, and its number; or an error,
	 *  and nothing has changed.
	 * Beware: port 0 is no port. A guest opens all that there are, closes some in the middle,
	 *  and does so a million times. A page of ports is there when the first of them is opened.
	 * Manual: event_channel.h, of Debian's libxen-dev; struct pv_ports, vmm/pv/events/ports.h.
	 * Tools: ENOMEM, ENOSPC, PV_PORT_PAGES, pv_ports_page(), PV_PORTS_PER_PAGE, XEN_PORTS
	 */
	exercise_todo("7.1", "handouts/lab7a.md#ex-7-1");
	(void)p;
	(void)as;
	return -ENOSPC;
	/* END EXERCISE 7.1a */
}

int
pv_op_send(struct pv_ports *p, void *arg)
{
	uint32_t port = ((struct xen_evtchn_send *)arg)->port;

	/*
	 * EXERCISE 7.1b: send
	 * Holds: whoever is at the other end of this port is told: a port, or a service of
	 *  Zeno's; and 0. Or it is none to send by: -EINVAL.
	 * Beware: the number is any number. Not everything that has a port was opened to be sent
	 *  by. Where nobody listens yet, what is sent is lost: that is no error.
	 * Manual: event_channel.h "EVTCHNOP_send"; struct pv_port, vmm/pv/events/ports.h.
	 * Tools: pv_port_at(), pv_port_has_peer(), pv_port_raise(), pv_port_serves(),
	 *  pv_ports_of(), PV_ZENO, xen_evtchnstat of inc/xen_events.h
	 */
	exercise_todo("7.1", "handouts/lab7a.md#ex-7-1");
	(void)p;
	(void)port;
	return -ENOSYS;
	/* END EXERCISE 7.1b */
}

int
pv_port_close(struct pv_ports *p, uint32_t port)
{
	/*
	 * EXERCISE 7.1c: close
	 * Holds: the port is closed, and nothing is left of it: nobody finds it, nobody is told of
	 *  what was sent there, and it may be the next new one. 0, or it was none: -EINVAL.
	 * Beware: its pending bit is in the guest's memory, and whoever opens it next looks there;
	 *  its mask is the guest's, and stays. A port that had another end is known there.
	 * Manual: event_channel.h "EVTCHNOP_close"; struct pv_ports, vmm/pv/events/ports.h.
	 * Tools: pv_port_at(), pv_port_bit(), pv_port_forget(), pv_port_is_pending(),
	 *  xen_evtchnstat of inc/xen_events.h
	 */
	exercise_todo("7.1", "handouts/lab7a.md#ex-7-1");
	(void)p;
	(void)port;
	return -ENOSYS;
	/* END EXERCISE 7.1c */
}

/*
 * Ports between two domains, and what becomes of one when the other domain ends: exercise 7.3.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <vmm/pv/events/port_ops.h>

/* EXERCISE 7.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 7.0 */

int
pv_op_bind_interdomain(struct pv_ports *p, void *arg)
{
	struct xen_evtchn_bind_interdomain *b = arg;

	/*
	 * EXERCISE 7.3a: bind
	 * Holds: a new port of this domain and a port that another one has left open for it are
	 *  each other's ends; *b says which, and it is pending: something may have been sent
	 *  before. Or nothing changes: -ESRCH, no such domain; -EINVAL, no port for this one;
	 *  or a new port's error.
	 * Beware: a guest says any domain and any port. Most are open for somebody else, or bound.
	 * Manual: event_channel.h "EVTCHNOP_bind_interdomain".
	 * Tools: pv_port_at(), pv_port_forget(), pv_port_new(), pv_port_raise(), pv_ports_of(),
	 *  XEN_DOMID_SELF, xen_evtchnstat of inc/xen_events.h
	 */
	exercise_todo("7.3", "handouts/lab7a.md#ex-7-3");
	(void)p;
	(void)b;
	return -ENOSYS;
	/* END EXERCISE 7.3a */
}

/* This port, which is *e and has another end, is about to be closed. */
void
pv_peer_let_go(struct pv_ports *p, uint32_t port, const struct pv_port *e)
{
	/*
	 * EXERCISE 7.3b: let go
	 * Holds: if the port at the other end is this one's, it waits for the next one of this
	 *  domain to bind it.
	 * Beware: a domain that has ended closes its ports when it is freed, which is later. What
	 *  it knew of the others may be wrong by then: there the port may be another one, and the
	 *  number another domain's.
	 * Manual: event_channel.h "EVTCHNSTAT_unbound", of Debian's libxen-dev; struct pv_port.
	 * Tools: pv_port_at(), pv_ports_of(), PV_ZENO, xen_evtchnstat of inc/xen_events.h
	 */
	exercise_todo("7.3", "handouts/lab7a.md#ex-7-3");
	(void)p;
	(void)port;
	(void)e;
	/* END EXERCISE 7.3b */
}

/* Each time that somebody looks at a port that has another end. */
void
pv_peer_look(struct pv_port *e)
{
	/*
	 * EXERCISE 7.3c: a peer that has ended
	 * Holds: a port whose other end was a domain's that has ended waits for another to bind
	 *  it, for whoever looks.
	 * Beware: nobody tells the port. Whoever follows it to a domain that is gone finds nothing
	 *  there, which is Zeno's end if it has not asked.
	 * Manual: struct pv_port, vmm/pv/events/ports.h.
	 * Tools: pv_ports_of(), PV_ZENO, xen_evtchnstat of inc/xen_events.h
	 */
	exercise_todo("7.3", "handouts/lab7a.md#ex-7-3");
	(void)e;
	/* END EXERCISE 7.3c */
}

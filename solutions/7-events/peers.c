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
	 * Hint: four things must be true of the other end. Which?
	 * Hint: a door with a name on it, and who may knock.
	 * Hint: connect() finds a socket that listens; here the one that listens says for whom.
	 * until then: (void)p; (void)b; return -ENOSYS;
	 */
	uint16_t dom = b->remote_dom == XEN_DOMID_SELF ? p->domain : b->remote_dom;
	struct pv_ports *peer = pv_ports_of(dom);
	struct pv_port *there = peer ? pv_port_at(peer, b->remote_port) : NULL;
	int port;

	if (!peer)
		return -ESRCH;
	if (!there || there->state != XEN_EVTCHNSTAT_unbound || there->dom != p->domain)
		return -EINVAL;
	port = pv_port_new(p, (struct pv_port){ .state = XEN_EVTCHNSTAT_interdomain,
						.dom = dom,
						.other = (uint16_t)b->remote_port });
	if (port < 0)
		return port;
	there->state = XEN_EVTCHNSTAT_interdomain;
	there->other = (uint16_t)port;
	pv_port_raise(p, (unsigned)port);
	b->local_port = (uint32_t)port;
	return 0;
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
	 * Hint: how can you see at the other end that it still is the other end?
	 * Hint: before you give back a key, try whether it still is the key to that door.
	 * Hint: a list in two directions is taken apart so: a->next->prev must be a.
	 * until then: (void)p; (void)port; (void)e;
	 */
	struct pv_ports *peer = pv_ports_of(e->dom);
	struct pv_port *there = peer ? pv_port_at(peer, e->other) : NULL;

	if (!there || there->state != XEN_EVTCHNSTAT_interdomain || there->dom != p->domain ||
	    there->other != port)
		return;
	there->state = XEN_EVTCHNSTAT_unbound;
	there->dom = p->domain;
	there->other = 0;
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
	 * Hint: who knows whether a domain is still there?
	 * Hint: an address book may say where somebody lives who has moved: look before you send.
	 * Hint: a pipe whose reader is gone is seen by whoever writes, and not before.
	 * until then: (void)e;
	 */
	if (!pv_ports_of(e->dom))
		e->state = XEN_EVTCHNSTAT_unbound;
	/* END EXERCISE 7.3c */
}

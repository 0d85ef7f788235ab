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
	 * Hint: which ports need not be looked at, and who has to see to it that this stays true?
	 * Hint: a cloakroom whose hooks are numbered: the attendant keeps a finger on the first
	 *  hook that may be free.
	 * Hint: a file descriptor of Unix is the lowest one that is free, too; close() moves the
	 *  place where open() begins to look.
	 * until then: (void)p; (void)as; return -ENOSPC;
	 */
	for (unsigned n = p->taken ? p->taken : 1; n < XEN_PORTS; n++) {
		struct pv_port **page = &p->page[n / PV_PORTS_PER_PAGE];

		if (!*page)
			*page = pv_ports_page();
		if (!*page)
			return -ENOMEM;
		p->taken = (uint16_t)n;
		if ((*page)[n % PV_PORTS_PER_PAGE].state == XEN_EVTCHNSTAT_closed) {
			(*page)[n % PV_PORTS_PER_PAGE] = as;
			return (int)n;
		}
	}
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
	 * Hint: a port has one of six states. In which of them is there another end, and where is
	 *  it?
	 * Hint: a bell whose wire leads to another house, to your own kitchen, or hangs loose.
	 * Hint: status() in vmm/pv/events/ports.c asks each state for what it has to say, too.
	 * until then: (void)p; (void)port; return -ENOSYS;
	 */
	const struct pv_port *e = pv_port_at(p, port);

	if (!e)
		return -EINVAL;
	switch (e->state) {
	case XEN_EVTCHNSTAT_interdomain:
		if (e->dom == PV_ZENO)
			pv_port_serves(p, e->other);
		else
			pv_port_raise(pv_ports_of(e->dom), e->other);
		return 0;
	case XEN_EVTCHNSTAT_ipi:
		pv_port_raise(p, port);
		return 0;
	case XEN_EVTCHNSTAT_unbound:
		return 0;
	default:
		return -EINVAL;
	}
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
	 * Hint: who knows of this port: by its number, by another number, by a bit?
	 * Hint: a hotel room is free again when the key is back, the bed is made, and the
	 *  telephone does not ring for whoever was there.
	 * Hint: when a process of Unix closes one end of a pipe, its descriptor is free, and the
	 *  other end reads that nobody is there.
	 * until then: (void)p; (void)port; return -ENOSYS;
	 */
	struct pv_port *e = pv_port_at(p, port);

	if (!e)
		return -EINVAL;
	pv_port_forget(p, port, e);
	*e = (struct pv_port){ .state = XEN_EVTCHNSTAT_closed };
	p->shared->pending[port / 64] &= ~pv_port_bit(port);
	if (port < p->taken)
		p->taken = (uint16_t)port;
	return 0;
	/* END EXERCISE 7.1c */
}

/*
 * What the operations on ports are made of. The lab's ports.c, upcall.c and peers.c have those
 * without another file's name; each operation has its structure at *arg (ports.h).
 */
#pragma once

#include <vmm/pv/events/ports.h>

/* In its word of 64. */
static inline uint64_t
pv_port_bit(unsigned port)
{
	return 1ul << (port % 64);
}

/* Its other end is another domain's port, or one of its own domain's. */
static inline bool
pv_port_has_peer(const struct pv_port *e)
{
	return e->state == XEN_EVTCHNSTAT_interdomain && e->dom != PV_ZENO;
}
void pv_peer_look(struct pv_port *e); /* one of those */

/* NULL: it is closed, or none at all. What it says is true now: a peer that has ended is seen. */
static inline struct pv_port *
pv_port_at(const struct pv_ports *p, uint32_t port)
{
	struct pv_port *page = port < XEN_PORTS ? p->page[port / PV_PORTS_PER_PAGE] : NULL;
	struct pv_port *e = page ? &page[port % PV_PORTS_PER_PAGE] : NULL;

	if (e && pv_port_has_peer(e))
		pv_peer_look(e);
	return e && e->state != XEN_EVTCHNSTAT_closed ? e : NULL;
}

/*
 * vmm/pv/events/ports.c: who finds the port by a VIRQ, as a service of Zeno's, or at the other end,
 * finds it no more.
 */
void pv_port_forget(struct pv_ports *p, uint32_t port, const struct pv_port *e);

int pv_port_new(struct pv_ports *p, struct pv_port as);
int pv_port_close(struct pv_ports *p, uint32_t port);
int pv_op_send(struct pv_ports *p, void *arg);
int pv_op_unmask(struct pv_ports *p, void *arg);
int pv_op_bind_interdomain(struct pv_ports *p, void *arg);
bool pv_may_sleep(struct xen_vcpu_info *info);
void pv_peer_let_go(struct pv_ports *p, uint32_t port, const struct pv_port *e);

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

/*
 * vmm/pv/events/ports.c: NULL: it is closed, or none at all. What it says is true now: a peer that
 * has ended is seen here (pv_peer_look()).
 */
struct pv_port *pv_port_at(const struct pv_ports *p, uint32_t port);
/*
 * ... Who finds the port by a VIRQ, as a service of Zeno's, or at the other end, finds it no more.
 */
void pv_port_forget(struct pv_ports *p, uint32_t port, const struct pv_port *e);

int pv_port_new(struct pv_ports *p, struct pv_port as);
int pv_port_close(struct pv_ports *p, uint32_t port);
int pv_op_send(struct pv_ports *p, void *arg);
int pv_op_unmask(struct pv_ports *p, void *arg);
int pv_op_bind_interdomain(struct pv_ports *p, void *arg);
bool pv_may_sleep(struct xen_vcpu_info *info);
/* Both of a port whose other end is a domain's. */
void pv_peer_let_go(struct pv_ports *p, uint32_t port, const struct pv_port *e);
void pv_peer_look(struct pv_port *e);

/*
 * Event channels: the ports of a domain, and the two levels of bits by which it sees them (xen.h,
 * struct shared_info; event_channel.h). Pure, but for what stands last here.
 *
 *   port's pending bit --- not masked ---> vcpu_info's selector bit ---> upcall_pending
 *
 * A port of Zeno's own is one of domain PV_ZENO: there `other` is one of enum pv_service. Guests
 * are told that this is domain 0, where they expect whoever serves them; dom0, if there is one, is
 * 0.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <inc/xen_events.h>
#include <vmm/pv/vcpus.h>

#define PV_ZENO 0x7ff2u /* xen.h: DOMID_XEN */
enum pv_service { PV_SERVICE_CONSOLE = 1, PV_SERVICE_STORE, PV_SERVICES };

struct pv_port {
	uint8_t state;  /* enum xen_evtchnstat */
	uint8_t vcpu;   /* whom it tells */
	uint16_t dom;   /* unbound: who may bind it; interdomain: at the other end */
	uint16_t other; /* interdomain: the port there; or the VIRQ, or PIRQ */
	uint16_t pad;
};
#define PV_PORTS_PER_PAGE (4096u / sizeof(struct pv_port))
#define PV_PORT_PAGES     (XEN_PORTS / PV_PORTS_PER_PAGE)

/* A line of the machine's interrupt controllers, under the number that it has there (pirq.c). */
#define PV_PIRQS 16u
struct pv_pirq {
	bool mapped;   /* it is the domain's */
	bool waits;    /* ... it has come, and the domain has not said EOI yet */
	uint16_t port; /* 0: it is bound to none */
};

/* Zeroed, and then `domain`, `shared`, and `info` of each vCPU that it has. */
struct domain;
struct pv_ports {
	struct domain *of; /* for whoever links this */
	uint16_t domain;
	uint16_t taken;                      /* all ports below are */
	struct pv_port *page[PV_PORT_PAGES]; /* NULL: all of these are closed */
	struct xen_shared_info *shared;
	struct xen_vcpu_info *info[PV_VCPUS]; /* NULL: there is no such vCPU */
	uint16_t virq[PV_VCPUS][XEN_VIRQS];   /* the port of each; 0: none */
	uint16_t service[PV_SERVICES];
	struct pv_pirq pirq[PV_PIRQS];
};

/*
 * An operation of event_channel_op, whose structure has been copied to *arg. -ENOSYS: there is none
 * such.
 */
int pv_ports_op(struct pv_ports *p, uint32_t cmd, void *arg);
struct pv_port_op {
	int (*op)(struct pv_ports *p, void *arg);
	uint8_t size;   /* its structure's; 0: there is none such */
	bool answers;   /* the guest gets it back behind a 0 */
	uint16_t takes; /* of PV_BATCH: a ring's text, or all ports */
};
#define PV_PORT_OPS  (XEN_EVTCHNOP_reset + 1)
#define PV_PORTS_ARG 24u /* the longest of these structures */
extern const struct pv_port_op pv_port_ops[PV_PORT_OPS];

void pv_ports_close_all(struct pv_ports *p);
/* A port with a service of Zeno's at the other end; -ENOMEM, -ENOSPC. */
int pv_ports_serve(struct pv_ports *p, enum pv_service service);
/* ... a port that this domain may bind; the same errors. */
int pv_ports_offer(struct pv_ports *p, uint16_t dom);

/* Something has happened: to who listens at a port, of this VIRQ, of a service. */
void pv_port_raise(struct pv_ports *p, unsigned port);
void pv_virq_raise(struct pv_ports *p, unsigned vcpu, enum xen_virq virq);
void pv_service_raise(struct pv_ports *p, enum pv_service service);

static inline bool
pv_port_is_pending(const struct pv_ports *p, unsigned port)
{
	return p->shared->pending[port / 64] >> (port % 64) & 1;
}

/*
 * pirq.c, here and of Lab 7. Ports that lines have: 0; -EPERM: it is not the domain's; -EEXIST: it
 * has one. EOI: -EINVAL: it is not the domain's. The line has come; a domain loses it, or all.
 */
int pv_pirq_may_bind(const struct pv_ports *p, uint32_t irq);
void pv_pirq_bind(struct pv_ports *p, unsigned irq, uint16_t port);
void pv_pirq_unbind(struct pv_ports *p, unsigned irq, uint16_t port);
int pv_pirq_eoi(struct pv_ports *p, uint32_t irq);
void pv_pirq_came(struct pv_ports *p, unsigned irq);
void pv_pirq_unmap(struct pv_ports *p, unsigned irq);
void pv_pirq_unmap_all(struct pv_ports *p);

/* ---- what whoever links this has: Zeno (events.c), or a test ---- */

struct pv_ports *pv_ports_of(uint16_t domain); /* NULL: none lives under that number */
void *pv_ports_page(void);                     /* zeroed; NULL: no memory */
/* A pending bit of this port is new, or it is no longer masked: its vCPU looks. */
void pv_port_tells(struct pv_ports *p, unsigned vcpu, unsigned port);
void pv_port_serves(struct pv_ports *p, enum pv_service service); /* the guest has sent there */
/*
 * Whether a line of the machine's may interrupt. What comes while it is closed waits in the
 * controller.
 */
void pv_line_open(unsigned irq, bool open);

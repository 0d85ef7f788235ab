/*
 * Domain control: dom0, and what it may do with other domains (inc/control.h).
 *
 * dom0 is the PV guest that the person at the monitor has started under that name; none can be
 * started beside it. Others know it as domain 0. It makes domains out of files in its memory,
 * serves their consoles and stores through pages of theirs that it maps, and lets go of them when
 * they have ended. When it ends itself, all that it has mapped is given back, and its domains go
 * on: the next dom0 finds them.
 */
#pragma once

#include <inc/control.h>
#include <vmm/dev/io.h>
#include <vmm/pv/events/events.h>

struct pv_call;
struct pv_types;

/* control.c. By the number that guests use: 0 is dom0. NULL: there is none. */
struct domain *pv_domain_named(uint16_t domid);
struct domain *pv_dom0(void); /* NULL: none is there */

/* make.c. CREATE, behind whose back the host's own root is loaded: a number, or an error. */
int64_t pv_make(struct vcpu *v, const struct zeno_create *c);

/* foreign.c. MAP: 0; -EINVAL: a page table of its, or of dom0's, or no page; -EAGAIN: once more. */
int pv_foreign_map(struct vcpu *v, struct domain *d, uint64_t pfn, uint64_t va, unsigned *budget);
/* How many entries of v's lead to frames of this domain; all other domains': they are none then. */
uint64_t pv_foreign_entries(struct vcpu *v, const struct domain *of);
void pv_foreign_drop(struct vcpu *v);

/* said.c: what the console was told, from that byte of it on */
void pv_said(struct zeno_said *s, uint64_t from);

/* physdev.c: ports of devices that dom0 may have, and by number, 1 + which of them each is. */
extern struct io_range pv_dom0_ports[];
extern uint8_t pv_dom0_claims[];
void pv_dom0_devices_begin(struct pv_types *t);
/* PORTS, LINE: dom0's device is this domain's (0, -EPERM, -EBUSY); all that it has are dom0's. */
int pv_give_ports(const struct domain *d, uint64_t first, uint64_t last);
int pv_give_line(const struct domain *d, uint64_t irq);
void pv_devices_return(const struct domain *d);

/*
 * What Lab 7 adds to a PV domain: ports, timers, runstates, and who serves its console and store.
 */
#pragma once

#include <vmm/pv/events/ports.h>
#include <vmm/pv/events/rings.h>
#include <vmm/pv/events/time.h>
#include <vmm/pv/shared.h>

/* Of a domain that dom0 has made: its rings, as dom0 is told of them. */
struct pv_ends {
	uint64_t console_pfn, store_pfn;
	uint32_t console_port, store_port;
	char note[64]; /* dom0's own */
};

/* One frame. */
struct pv_events {
	struct pv_ports ports;
	struct pv_timers timers;
	struct pv_scale scale;
	uint64_t wall;      /* its clock_offset, when it was last told the date */
	bool polls;         /* its vCPU waits for a port ... */
	uint32_t poll_port; /* ... this one; 0: any */
	bool goes_on;       /* ... and has waited enough */
	/* pages of the guest's own */
	struct xen_console_ring *console;
	struct xen_store_ring *store;
	struct pv_store store_state;
	bool listens; /* somebody is at the console's other end */
	bool says;    /* ... and has taken all that he takes at once: there may be more */
	bool made;    /* dom0 has made it, and frees it */
	bool over;    /* its last turn has been */
	struct pv_ends ends;
	uint64_t runstate_at; /* linear: where it wants to see that; 0: nowhere */
	struct xen_vcpu_runstate_info runstate;
};
_Static_assert(sizeof(struct pv_events) <= PAGE_SIZE, "a pv_events is one frame");

static inline struct pv_events *
pv_events_of(const struct domain *d)
{
	return pv_domain_of(d)->events;
}

/* The guest waits for a port. */
void pv_poll_begin(struct pv_events *e, uint32_t port, uint64_t timeout);
int64_t pv_sched_op(struct vcpu *v, struct pv_call *c); /* vcpu_calls.c: block, poll */

/* services.c: console and store are there when the kernel begins: 0, -ENOMEM, -EINVAL. */
int pv_services_open(struct domain *d, struct pv_plan *plan, bool by_dom0);
void pv_console_look(struct domain *d); /* what has been typed goes to it */

/* runstate.c: this vCPU runs now, or could; or it waits, and has not the CPU any more. */
void pv_runstate(struct vcpu *v, bool runs);
void pv_waits(struct vcpu *v);

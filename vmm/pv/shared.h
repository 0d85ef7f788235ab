/*
 * What a PV domain has beside its CPU: the page that it shares with Zeno, ports, timers. To the
 * core this is its platform, whose one interrupt is the upcall.
 */
#pragma once

#include <vmm/domain.h>
#include <vmm/pv/ports.h>
#include <vmm/pv/rings.h>
#include <vmm/pv/time.h>

#define PV_HELD 4u

/* Of a domain that dom0 has made: its rings, as dom0 is told of them. */
struct pv_ends {
	uint64_t console_pfn, store_pfn;
	uint32_t console_port, store_port;
};
#define PV_GRANT_FRAMES 8u

/* d->machine: one frame. */
struct pv_domain {
	struct pv_ports ports;
	struct pv_timers timers;
	struct pv_scale scale;
	uint64_t wall;       /* its clock_offset, when it was last told the date */
	bool polls;          /* its vCPU waits for a port ... */
	uint32_t poll_port;  /* ... this one; 0: any */
	bool goes_on;        /* ... and has waited enough */
	mfn_t held[PV_HELD]; /* of the guest's own memory */
	unsigned held_count;
	/* pages of the guest's own */
	struct xen_console_ring *console;
	struct xen_store_ring *store;
	struct pv_store store_state;
	bool listens;    /* somebody is at the console's other end */
	uint32_t grants; /* frames of the grant table */
	void *grant[PV_GRANT_FRAMES];
	bool made; /* dom0 has made it, and frees it */
	bool over; /* its last turn has been */
	struct pv_ends ends;
	uint64_t runstate_at; /* linear: where it wants to see that; 0: nowhere */
	struct xen_vcpu_runstate_info runstate;
};
_Static_assert(sizeof(struct pv_domain) <= PAGE_SIZE, "a pv_domain is one frame");

static inline struct pv_domain *
pv_domain_of(const struct domain *d)
{
	return d->machine;
}

/* events.c: before its vCPU; 0 or -ENOMEM. It goes with the domain. */
int pv_domain_create(struct domain *d);
/* Memory of the guest's own that Zeno writes from now on: it stays what it is. False: it is not. */
bool pv_hold(struct vcpu *v, mfn_t m);
void pv_let_go(struct domain *d);
/* The guest waits for a port. */
void pv_poll_begin(struct pv_domain *pd, uint32_t port, uint64_t timeout);

/* console.c: those pages of its own; 0, or they are none. What has been typed goes to it. */
int pv_services_begin(struct vcpu *v, mfn_t console, mfn_t store);
void pv_console_look(struct domain *d);

/* runstate.c: this vCPU runs now, or waits; what ran before it (NULL: nothing of ours runs). */
extern struct vcpu *pv_running; /* NULL: none of ours */
void pv_runs(struct vcpu *v);
void pv_waits(struct vcpu *v);
void pv_runs_forget(const struct vcpu *v);

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

/* A vCPU's. */
struct pv_vcpu {
	struct vcpu *v; /* NULL: there is no such one */
	struct pv_timers timers;
	bool polls;                    /* it waits for a port ... */
	bool goes_on;                  /* ... and has waited enough */
	uint32_t poll_port;            /* ... this one; 0: any */
	uint64_t runstate_at, time_at; /* linear: where it wants to see those; 0: nowhere */
	struct xen_vcpu_runstate_info runstate;
};

/* One frame. */
struct pv_events {
	struct pv_ports ports;
	struct pv_vcpu vcpu[PV_VCPUS];
	unsigned pollers; /* of these */
	struct pv_scale scale;
	uint64_t wall; /* its clock_offset, when it was last told the date */
	/* pages of the guest's own */
	struct xen_console_ring *console;
	struct xen_store_ring *store;
	struct pv_store store_state;
	bool listens; /* somebody is at the console's other end */
	bool says;    /* ... and has taken all that he takes at once: there may be more */
	bool made;    /* dom0 has made it, and frees it */
	bool over;    /* its last turn has been */
	struct pv_ends ends;
};
_Static_assert(sizeof(struct pv_events) <= PAGE_SIZE, "a pv_events is one frame");

static inline struct pv_events *
pv_events_of(const struct domain *d)
{
	return pv_domain_of(d)->events;
}

static inline struct pv_vcpu *
pv_vcpu_of(const struct vcpu *v)
{
	return &pv_events_of(v->domain)->vcpu[v->number];
}

/* events.c: of the platform's functions those that another platform asks, too (platform.h). */
void pv_events_lines(struct domain *d);
uint64_t pv_events_deadline(struct domain *d);
/* The vCPU waits for a port. */
void pv_poll_begin(struct vcpu *v, uint32_t port, uint64_t timeout);
int64_t pv_sched_op(struct vcpu *v, struct pv_call *c); /* vcpu_calls.c: block, poll */

/* services.c: console and store are there when the kernel begins: 0, -ENOMEM, -EINVAL. */
int pv_services_open(struct domain *d, struct pv_plan *plan, bool by_dom0);
void pv_console_look(struct domain *d); /* what has been typed goes to it */

/* runstate.c: this vCPU runs now, or could; or it has not the CPU any more, and is what it says. */
void pv_runstate(struct vcpu *v, bool runs);
void pv_rests(struct vcpu *v, enum xen_runstate state);
void pv_waits(struct vcpu *v);
void pv_show_time_area(struct vcpu *v);

/* start.c: VCPUOP_initialise, _up, _down: by one vCPU, of any of its domain; by dom0's. */
int64_t pv_vcpu_initialise(struct vcpu *v, struct vcpu *of, struct pv_call *c);
int64_t pv_vcpu_up(struct vcpu *of);
int64_t pv_vcpu_down(struct vcpu *v, struct vcpu *of, struct pv_call *c);
static inline bool
pv_vcpu_is_up(const struct vcpu *v)
{
	return v->state.activity != ACTIVITY_WAITS_FOR_SIPI;
}

/*
 * How long a vCPU has run, could have, and has waited (vcpu.h, struct vcpu_runstate_info). One runs
 * until another one has the CPU, or it waits.
 */
#include <vmm/pv/pv.h>
#include <vmm/pv/events/events.h>

static void
enter(struct vcpu *v, enum xen_runstate state)
{
	struct xen_vcpu_runstate_info *r = &pv_events_of(v->domain)->runstate;
	uint64_t now = domain_now(v->domain);

	r->time[r->state] += now - r->state_entry_time;
	r->state_entry_time = now;
	r->state = state;
}

void
pv_runstate(struct vcpu *v, bool runs)
{
	struct pv_events *pe = pv_events_of(v->domain);

	enter(v, runs ? XEN_RUNSTATE_running : XEN_RUNSTATE_runnable);
	if (runs && pe->runstate_at) /* where it is not mapped just now, it does not look */
		pv_write(v, pe->runstate_at, &pe->runstate, sizeof(pe->runstate));
}

void
pv_waits(struct vcpu *v)
{
	enter(v, XEN_RUNSTATE_blocked);
	pv_running = NULL;
}

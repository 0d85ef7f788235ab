/*
 * How long a vCPU has run, could have, and has waited (vcpu.h, struct vcpu_runstate_info). One runs
 * until another one has the CPU, or it waits. Its time it may also see where it likes.
 */
#include <vmm/pv/pv.h>
#include <vmm/pv/events/events.h>

static void
enter(struct vcpu *v, enum xen_runstate state)
{
	struct xen_vcpu_runstate_info *r = &pv_vcpu_of(v)->runstate;
	uint64_t now = domain_now(v->domain);

	r->time[r->state] += now - r->state_entry_time;
	r->state_entry_time = now;
	r->state = state;
}

/* Of the vCPU that has the CPU. Where it is not mapped just now, it does not look. */
void
pv_show_time_area(struct vcpu *v)
{
	const struct pv_vcpu *own = pv_vcpu_of(v);

	if (own->time_at)
		pv_write(v, own->time_at, &pv_of(v)->info->time, sizeof(pv_of(v)->info->time));
}

void
pv_runstate(struct vcpu *v, bool runs)
{
	struct pv_vcpu *own = pv_vcpu_of(v);

	enter(v, runs ? XEN_RUNSTATE_running : XEN_RUNSTATE_runnable);
	if (!runs)
		return;
	if (own->runstate_at)
		pv_write(v, own->runstate_at, &own->runstate, sizeof(own->runstate));
	pv_show_time_area(v);
}

void
pv_rests(struct vcpu *v, enum xen_runstate state)
{
	enter(v, state);
	if (pv_running == v)
		pv_running = NULL;
}

void
pv_waits(struct vcpu *v)
{
	pv_rests(v, XEN_RUNSTATE_blocked);
}

/*
 * How long a vCPU has run, could have, and has waited (vcpu.h, struct vcpu_runstate_info). One runs
 * until another one has the CPU, or it waits. Its time it may also see where it likes.
 */
#include <vmm/pv/pv.h>
#include <vmm/pv/events/events.h>

/* While it waits others look, whom what it holds may keep waiting (Linux: vcpu_is_preempted()). */
static void
enter(struct vcpu *v, enum xen_runstate state)
{
	struct xen_vcpu_runstate_info *r = &pv_vcpu_of(v)->runstate;
	uint64_t now = domain_now(v->domain), at = pv_vcpu_of(v)->runstate_at;
	bool others = v->domain->vcpu->next && v->domain->state == DOMAIN_RUNNING;

	r->time[r->state] += now - r->state_entry_time;
	r->state_entry_time = now;
	r->state = state;
	if (at && (state == XEN_RUNSTATE_running || others))
		pv_write(v, at, r, sizeof(*r));
}

/* Of the vCPU that has the CPU. Where it is not mapped just now, it does not look. */
void
pv_show_time_area(struct vcpu *v)
{
	if (pv_vcpu_of(v)->time_at)
		pv_write(v, pv_vcpu_of(v)->time_at, &pv_of(v)->info->time,
			 sizeof(pv_of(v)->info->time));
}

void
pv_runstate(struct vcpu *v, bool runs)
{
	enter(v, runs ? XEN_RUNSTATE_running : XEN_RUNSTATE_runnable);
	if (runs)
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

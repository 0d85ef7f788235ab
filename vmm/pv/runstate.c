/*
 * How long a vCPU has run, could have, and has waited (vcpu.h, struct vcpu_runstate_info). One runs
 * until another one has the CPU, or it waits.
 */
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>

struct vcpu *pv_running;

static void
enter(struct vcpu *v, enum xen_runstate state)
{
	struct xen_vcpu_runstate_info *r = &pv_domain_of(v->domain)->runstate;
	uint64_t now = domain_now(v->domain);

	r->time[r->state] += now - r->state_entry_time;
	r->state_entry_time = now;
	r->state = state;
}

void
pv_runs(struct vcpu *v)
{
	struct pv_domain *pd = v ? pv_domain_of(v->domain) : NULL;

	if (v == pv_running)
		return;
	if (pv_running)
		enter(pv_running, XEN_RUNSTATE_runnable);
	pv_running = v;
	if (!v)
		return;
	enter(v, XEN_RUNSTATE_running);
	if (pd->runstate_at) /* where it is not mapped just now, it does not look */
		pv_write(v, pd->runstate_at, &pd->runstate, sizeof(pd->runstate));
}

void
pv_waits(struct vcpu *v)
{
	enter(v, XEN_RUNSTATE_blocked);
	pv_running = NULL;
}

void
pv_runs_forget(const struct vcpu *v)
{
	if (pv_running == v)
		pv_running = NULL;
}

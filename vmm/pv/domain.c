/*
 * A PV domain beside its vCPUs, and the parts that labs add to it.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/host.h>
#include <vmm/dev/platform.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>

SET_DECLARE(pv_parts);
SET_DECLARE(pv_parts_run);

struct vcpu *pv_running;

/* ---- parts ---- */

int
pv_domain_open(struct domain *d, struct pv_plan *plan, bool by_dom0)
{
	int err = 0;

	set_foreach (const struct pv_part *, part, pv_parts)
		if (!err && part->open)
			err = part->open(d, plan, by_dom0);
	return err;
}

int
pv_domain_begin(struct domain *d)
{
	int err = 0;

	set_foreach (const struct pv_part *, part, pv_parts)
		if (!err && part->begin)
			err = part->begin(d);
	return err;
}

/* All parts are told. */
#define TOLD(what, argument, name)                                   \
	void pv_domain_##what(argument name)                         \
	{                                                            \
		set_foreach (const struct pv_part *, part, pv_parts) \
			if (part->what)                              \
				part->what(name);                    \
	}
TOLD(gather, struct domain *, d)
TOLD(ended, struct domain *, d)
TOLD(unmapped, struct domain *, d)
TOLD(count, uint32_t, step)

int64_t
pv_domain_sched_op(struct vcpu *v, struct pv_call *c)
{
	int64_t result = -ENOSYS;

	set_foreach (const struct pv_part *, part, pv_parts)
		if (result == -ENOSYS && part->sched_op)
			result = part->sched_op(v, c);
	return result;
}

static void
tell(struct vcpu *v, bool runs)
{
	set_foreach (const struct pv_part *, part, pv_parts_run)
		if (v)
			part->runs(v, runs);
}

void
pv_runs(struct vcpu *v)
{
	if (v == pv_running)
		return;
	tell(pv_running, false);
	pv_running = v;
	tell(v, true);
}

/* ---- memory that Zeno writes ---- */

/* As an entry with W would (types.h). */
bool
pv_hold(struct vcpu *v, mfn_t m)
{
	struct pv_domain *pd = pv_domain_of(v->domain);
	struct frame *f = pv_own_frame(pv_of(v)->types, m);

	if (!f || f->type != FRAME_GUEST || f->page_type != PV_ORDINARY ||
	    pd->held_count == PV_HELD)
		return false;
	f->type_refs++;
	pd->held[pd->held_count++] = m;
	return true;
}

void
pv_let_go(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);

	while (pd->held_count)
		frame_of(pd->held[--pd->held_count])->type_refs--;
}

/* ---- the platform of a domain that nobody sends events ---- */

static void
lines(struct domain *d)
{
}

/* The guest itself writes the page that says so. */
static bool
pending(struct vcpu *v)
{
	return pv_upcall_is_due(pv_of(v));
}

static uint8_t
ack(struct vcpu *v)
{
	return 0;
}

void
pv_domain_free(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);

	set_foreach (const struct pv_part *, part, pv_parts)
		if (pd && part->free)
			part->free(d);
	if (pd)
		pv_grants_free(&pd->grants);
	if (pd)
		host_page_put(pd->shared);
	host_page_put(pd);
	d->pv = NULL;
}

static const struct platform plain_platform = {
	.name = "xen",
	.what = "a page that it shares with Zeno",
	.free = pv_domain_free,
	.lines = lines,
	.pending = pending,
	.ack = ack,
};

int
pv_domain_create(struct domain *d)
{
	struct pv_domain *pd = host_page();
	int err = 0;

	d->pv = pd;
	d->platform = &plain_platform;
	if (!pd)
		return -ENOMEM;
	pd->shared = host_page();
	if (!pd->shared)
		return -ENOMEM;
	pv_share(d->id, pd->shared);
	for (unsigned n = 0; n < XEN_LEGACY; n++)
		pd->shared->vcpu_info[n].upcall_mask = 1;
	set_foreach (const struct pv_part *, part, pv_parts)
		if (!err && part->create)
			err = part->create(d);
	return err;
}

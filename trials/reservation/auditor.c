/*
 * The auditor of reservations: each frame of the domain's is counted, and is where its p2m has it;
 * and what is nobody's is no guest frame, whatever a guest has said of it when it had it.
 */
#include <kern/thread.h>
#include <trials/audit/audit.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/grant/grant.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>

struct count {
	uint64_t frames, loose;
};

static void
look_at_frame(struct domain *d, uint64_t m, struct count *n, struct audit_report *report)
{
	uint32_t place = pv_place(&frames[m]);
	const struct p2m_entry *e = place == PV_LOOSE ? NULL : p2m_entry(d, gfn(place));

	n->frames++;
	n->loose += place == PV_LOOSE;
	if (place != PV_LOOSE && (!e || e->type != P2M_RAM || e->mfn != m))
		audit_differs(report, "d%u: frame %lx is not behind guest frame %x", d->id, m,
			      place);
}

static void
look_at_free(uint64_t m, struct audit_report *report)
{
	uint64_t pfn = ((const uint64_t *)M2P_BASE)[m];

	if (pfn != M2P_INVALID)
		audit_differs(report, "frame %lx is free, and guest frame %lx", m, pfn);
}

static uint64_t
places_in_use(struct domain *d)
{
	uint64_t n = 0;

	for (uint64_t g = 0; g < d->ram >> PAGE_SHIFT; g++) {
		const struct p2m_entry *e = p2m_entry(d, gfn(g));

		n += e && e->type == P2M_RAM;
	}
	return n;
}

/* What an ended domain has left to others (grant/) is not its any more. */
static void
audit(struct vcpu *v, struct audit_report *report)
{
	struct domain *d = v->domain;
	const struct pv_domain *pd = pv_domain_of(d);
	uint64_t places = places_in_use(d), may = d->ram >> PAGE_SHIFT;
	struct count n = { 0, 0 };

	for (uint64_t m = 0; m < frame_count; m++) {
		if (m % PREEMPT_WORK == 0)
			preempt_point();
		if (frames[m].type == FRAME_GUEST && frames[m].owner == d->id)
			look_at_frame(d, m, &n, report);
		else if (frames[m].type == FRAME_FREE)
			look_at_free(m, report);
	}
	if (places != n.frames - n.loose)
		audit_differs(report, "d%u: %lu frames, and %lu are in its p2m", d->id,
			      n.frames - n.loose, places);
	if (d->state == DOMAIN_RUNNING && (n.loose != pd->loose || n.frames != may - pd->away))
		audit_differs(report,
			      "d%u: %lu frames, %lu of them loose, and %lu and %u are counted",
			      d->id, n.frames, n.loose, may - pd->away, pd->loose);
}

/* Others' places are in their p2m alone. */
static bool
is_pv(struct vcpu *v)
{
	return pv_grants_of[v->domain->id] && !pv_domain_of(v->domain)->hvm;
}

static const struct auditor reservation_auditor = { .what = "frames",
						    .is_for = is_pv,
						    .audit = audit };

static void
add(void)
{
	auditor_add(&reservation_auditor);
}
INITCALL(50, add);

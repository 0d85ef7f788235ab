/*
 * The auditor of grants: each handle is taken away from the active entry and from the frame that it
 * says, and nothing may be left of either; then all is given back. It shares no code with what it
 * audits.
 */
#include <kern/thread.h>
#include <trials/grants/recount.h>
#include <trials/pv/audit.h>

#define HOST     2u /* a handle's flags */
#define DEVICE   1u
#define READONLY 4u

static const struct pv_handle *
handle(const struct pv_grants *g, uint32_t n)
{
	return &g->handle[n / PV_FRAME_HANDLES][n % PV_FRAME_HANDLES];
}

static uint32_t
parts(const struct pv_handle *h)
{
	return !!(h->flags & HOST) + !!(h->flags & DEVICE);
}

void
pv_grants_count(const struct pv_grants *by, uint32_t step)
{
	for (uint32_t n = 0; n < by->handles; n++) {
		const struct pv_handle *h = handle(by, n);
		struct frame *f = &frames[h->mfn];

		if (parts(h))
			*(h->flags & READONLY ? &f->refs : &f->type_refs) += step * parts(h);
	}
}

/* ---- active entries ---- */

static struct pv_active *
active(const struct pv_handle *h)
{
	const struct pv_grants *of = pv_grants_of[h->owner];
	uint32_t page = h->ref / PV_FRAME_GRANTS;

	if (!of || page >= PV_GRANT_FRAMES || !of->active[page])
		return NULL;
	return &of->active[page][h->ref % PV_FRAME_GRANTS];
}

static void
look_at_handle(const struct pv_grants *by, uint32_t n, struct audit_report *report)
{
	const struct pv_handle *h = handle(by, n);
	const struct pv_active *a = active(h);
	uint16_t owner = h->mfn < frame_count ? frames[h->mfn].owner : 0xffff;

	if (h->mfn >= frame_count || frames[h->mfn].type != FRAME_GUEST || owner != h->owner)
		audit_differs(report, "d%u: handle %u is of d%u's, and frame %x of d%u's",
			      by->owner, n, h->owner, h->mfn, owner);
	if (h->owner && (!a || a->user != by->name || a->mfn != h->mfn))
		audit_differs(report, "d%u: handle %u: grant %u of d%u's is not its to use",
			      by->owner, n, h->ref, h->owner);
}

static void
count_active(const struct pv_grants *by, int step)
{
	for (uint32_t n = 0; n < by->handles; n++) {
		const struct pv_handle *h = handle(by, n);
		struct pv_active *a = parts(h) ? active(h) : NULL;

		if (a)
			*(h->flags & READONLY ? &a->readers : &a->writers) += step * (int)parts(h);
	}
}

static void
look_at_active(const struct pv_grants *of, struct audit_report *report)
{
	for (uint32_t n = 0; n < PV_GRANT_FRAMES * PV_FRAME_GRANTS; n++) {
		const struct pv_active *a = of->active[n / PV_FRAME_GRANTS];

		if (!a)
			continue;
		a += n % PV_FRAME_GRANTS;
		if (a->readers || a->writers)
			audit_differs(report, "d%u: grant %u: %d readers and %d writers too many",
				      of->owner, n, (int8_t)a->readers, (int8_t)a->writers);
	}
}

/* ---- handles that are none ---- */

static void
look_at_free(const struct pv_grants *by, struct audit_report *report)
{
	uint32_t none = 0, listed = 0;

	for (uint32_t n = 0; n < by->handles; n++)
		none += !handle(by, n)->flags;
	for (uint32_t n = by->free_handle; n < by->handles && listed <= none;
	     n = handle(by, n)->ref)
		listed += !handle(by, n)->flags ? 1 : none + 1;
	if (none != listed)
		audit_differs(report, "d%u: %u handles are free, and %u are listed", by->owner,
			      none, listed);
}

/* ---- frames whose domain has ended ---- */

static bool
is_orphan(const struct frame *f)
{
	return f->type == FRAME_GUEST && f->owner == OWNER_HOST;
}

static void
look_at_orphans(struct audit_report *report)
{
	unsigned count = 0;

	for (uint64_t m = 0; m < frame_count; m++) {
		if (m % PREEMPT_WORK == 0)
			preempt_point();
		if (!is_orphan(&frames[m]))
			continue;
		count++;
		if (frames[m].refs || frames[m].type_refs)
			audit_differs(report,
				      "frame %lx, nobody's: %d uses too many, and %d to write", m,
				      (int)frames[m].refs, (int)frames[m].type_refs);
	}
	if (count != pv_orphans)
		audit_differs(report, "%u frames are nobody's, and %u were counted", count,
			      pv_orphans);
}

static void
count_all(const struct pv_types *const *all, int step)
{
	const struct pv_types nobody = { .owner = OWNER_HOST };

	for (unsigned id = 1; id < PV_GRANT_OWNERS; id++)
		if (pv_grants_of[id]) {
			count_active(pv_grants_of[id], step);
			pv_grants_count(pv_grants_of[id], (uint32_t)step);
		}
	pv_recount_foreign(&nobody, all, (uint32_t)step);
}

void
pv_grants_recount(const struct pv_types *const *all, struct audit_report *report)
{
	for (unsigned id = 1; id < PV_GRANT_OWNERS; id++)
		for (uint32_t n = 0; pv_grants_of[id] && n < pv_grants_of[id]->handles; n++)
			if (parts(handle(pv_grants_of[id], n)))
				look_at_handle(pv_grants_of[id], n, report);
	count_all(all, -1);
	for (unsigned id = 1; id < PV_GRANT_OWNERS; id++)
		if (pv_grants_of[id]) {
			look_at_active(pv_grants_of[id], report);
			look_at_free(pv_grants_of[id], report);
		}
	look_at_orphans(report);
	count_all(all, 1);
}

/*
 * The auditor of grants in the monitor, and its trial: what a guest that has ended has left is
 * broken in some ways, one at a time, and each must be seen. All is put right again.
 */
#include <trials/grants/recount.h>
#include <trials/pv/audit.h>
#include <vmm/engine.h>
#include <vmm/pv/shared.h>
#include <vmm/vcpu.h>

static void
count(uint32_t step)
{
	for (unsigned id = 1; id < PV_GRANT_OWNERS; id++)
		if (pv_grants_of[id])
			pv_grants_count(pv_grants_of[id], step);
}

/* The types' auditor knows of those uses by this. */
static const struct pv_part counted = { .count = count };
PV_PART(counted);

static bool
is_pv(struct vcpu *v)
{
	return pv_grants_of[v->domain->id] != NULL;
}

static void
audit(struct vcpu *v, struct audit_report *report)
{
	const struct pv_types *all[PV_GRANT_OWNERS];

	pv_all_types(all);
	pv_grants_recount(all, report);
}

static const struct auditor grants_auditor = { .what = "grants", .is_for = is_pv, .audit = audit };

static void
add(void)
{
	auditor_add(&grants_auditor);
}
INITCALL(50, add);

/*
 * The auditor of direct paging (audit.c), which a host test runs as well; and the one who tries it
 * out (inject.c).
 */
#pragma once

#include <trials/audit/audit.h>
#include <vmm/pv/types.h>

/*
 * `all`: whose entries may lead to its frames, its own among them or not; behind the last a NULL.
 */
void pv_recount(const struct pv_types *t, const mfn_t *root, unsigned roots,
		const struct pv_types *const *all, struct audit_report *report);
/* So often as entries of others lead to its frames, `step` is added to their counts. */
void pv_recount_foreign(const struct pv_types *t, const struct pv_types *const *all, uint32_t step);
/* Of all PV domains, and a NULL: inject.c. */
void pv_all_types(const struct pv_types *all[17]);
void pv_damage(struct vcpu *v, uint64_t seed);

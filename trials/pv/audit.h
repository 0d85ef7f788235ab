/*
 * The auditor of direct paging (audit.c), which a host test runs as well; and the one who tries it
 * out (damage.c).
 */
#pragma once

#include <trials/audit/audit.h>
#include <vmm/pv/types.h>

/* `dom0`: whose entries may lead to its frames, too; NULL: nobody's. */
void pv_recount(const struct pv_types *t, const mfn_t *root, unsigned roots,
		const struct pv_types *dom0, struct audit_report *report);
void pv_damage(struct vcpu *v, uint64_t seed);

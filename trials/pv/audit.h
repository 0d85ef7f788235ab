/*
 * The auditor of direct paging (audit.c), which a host test runs as well; and the one who tries it
 * out (damage.c).
 */
#pragma once

#include <trials/audit/audit.h>
#include <vmm/pv/types.h>

void pv_recount(const struct pv_types *t, const mfn_t *root, unsigned roots,
		struct audit_report *report);
void pv_damage(struct vcpu *v, uint64_t seed);

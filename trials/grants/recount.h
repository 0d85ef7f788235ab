/*
 * The auditor of grants (recount.c), which a host test runs as well.
 */
#pragma once

#include <trials/audit/audit.h>
#include <vmm/pv/grant/grant.h>

/* So often as this domain's handles use frames, `step` is added to the frames' counts. */
void pv_grants_count(const struct pv_grants *by, uint32_t step);
/* Of all domains; `all` as pv_recount() has it. */
void pv_grants_recount(const struct pv_types *const *all, struct audit_report *report);

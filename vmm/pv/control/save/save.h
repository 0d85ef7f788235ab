/*
 * What dom0 asks of Zeno to put a domain away, and to bring it back (inc/control.h): which frames
 * it has, and what each of them is; what its vCPUs go on with.
 *
 * Who brings one back is no more trusted than the domain itself would be: a table is pinned, and a
 * vCPU begins, by the same checks as by the domain's own calls (types.h, events/start.c), and only
 * once, before any vCPU of it has run.
 */
#pragma once

#include <inc/control.h>
#include <vmm/pv/pv.h>

/* Those of these calls that name a domain: -ENOSYS: it is none of them. */
int64_t pv_save_op(struct vcpu *v, struct pv_call *c, struct domain *d);
/* It is over with one that has suspended; false: it has not, or has ended. */
bool pv_save_destroy(struct domain *d);
/* What LOOK says for this. */
void pv_save_look(const struct domain *d, struct zeno_look *l);

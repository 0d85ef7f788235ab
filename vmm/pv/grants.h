/*
 * A domain's grant table: frames that it shares with Zeno (grants.c). What is done by them is
 * grant/'s, if this build has it.
 */
#pragma once

#include <inc/xen_grants.h>

#define PV_GRANT_FRAMES 32u
#define PV_FRAME_GRANTS 512u /* entries in each */

struct pv_grant_table {
	uint32_t frames;
	volatile struct xen_grant_entry *frame[PV_GRANT_FRAMES];
};

void pv_grants_free(struct pv_grant_table *t);
/* So many frames at least: an enum xen_gntst. */
struct domain;
int pv_grants_grow(struct domain *d, uint32_t frames);

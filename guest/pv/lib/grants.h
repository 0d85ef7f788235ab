/*
 * Grants for the PV guests: a table of one frame, and the calls, each of one request.
 */
#pragma once

#include <guest/pv/lib/pv.h>
#include <inc/xen_grants.h>

#define PV_GRANTS 512u /* entries */

extern volatile struct xen_grant_entry *const pv_grants;
/* The table is there, and mapped: what setup_table says. */
int pv_grants_init(void);
void pv_grants_end(void);
/* An entry for a page of its own; or none any more: false, somebody uses it. */
void pv_grant(uint32_t ref, uint16_t to, const void *va, bool readonly);
bool pv_revoke(uint32_t ref);

/* The status of the request; what the call itself returns, if it is not 0. */
int64_t pv_grant_op(enum xen_gnttabop op, void *requests, uint64_t count);
int pv_map_grant(void *va, uint16_t of, uint32_t ref, uint32_t flags, uint32_t *handle);
int pv_unmap_grant(const void *va, uint64_t bus, uint32_t handle);
/* An end of a copy: a grant of somebody's, or a page of its own. */
struct xen_gnttab_copy_ptr pv_granted(uint16_t of, uint32_t ref, unsigned offset);
struct xen_gnttab_copy_ptr pv_own(const void *va);
int pv_copy_grant(struct xen_gnttab_copy_ptr from, struct xen_gnttab_copy_ptr to, unsigned len,
		  unsigned flags);

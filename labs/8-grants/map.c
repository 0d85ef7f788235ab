/*
 * Grants mapped (exercise 8.2) and unmapped (8.3): an entry of a page table, or an address for a
 * device, by a handle.
 */
#include <kern/kern.h>
#include <vmm/pv/grant/grant.h>

/* Of the flags, in a handle. */
#define WAYS (XEN_GNTMAP_readonly | XEN_GNTMAP_application_map | XEN_GNTMAP_contains_pte)
#define KEPT (PV_GRANT_PARTS | WAYS)

/* EXERCISE 8.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 8.0 */

/* For each part one use, or for none. An enum xen_gntst. */
static int
claim_parts(struct pv_grants *by, struct pv_grants *of, uint32_t ref, uint32_t flags, mfn_t *m)
{
	bool writes = !(flags & XEN_GNTMAP_readonly);
	int status = pv_grant_claim(of, ref, by, writes, m);

	if (status || (flags & PV_GRANT_PARTS) != PV_GRANT_PARTS)
		return status;
	status = pv_grant_claim(of, ref, by, writes, m);
	if (status)
		pv_grant_release(of, ref, *m, writes);
	return status;
}

int
pv_grant_map(struct pv_grants *by, struct pv_grants *of, pte_t *at,
	     struct xen_gnttab_map_grant_ref *m)
{
	uint32_t flags = m->flags & KEPT, handle;

	/*
	 * EXERCISE 8.2d: map
	 * Holds: as grant.h says, with its statuses: each part that is asked for is claimed, the
	 *  entry at `at` leads there, the handle says all of it, and *m has it. Or a status, and
	 *  nothing has changed.
	 * Beware: each step may fail, the last one as well. Of the flags some are the new entry's,
	 *  and some are asked for again at the unmap.
	 * Manual: grant_table.h "GNTTABOP_map_grant_ref", of Debian's libxen-dev.
	 * Tools: claim_parts(), mfn_to_hpa(), pv_grant_entry(), pv_grant_put(), pv_grant_release(),
	 *  pv_handle_at(), pv_handle_end(), pv_handle_free(), pv_handle_new()
	 */
	exercise_todo("8.2", "handouts/lab8.md#ex-8-2");
	(void)by; (void)of; (void)at; (void)flags; (void)handle; (void)claim_parts;
	return XEN_GNTST_general_error;
	/* END EXERCISE 8.2d */
}

/* A mapping that has this part has it no more. */
static void
end_part(struct pv_grants *by, uint32_t handle, uint32_t part)
{
	/*
	 * EXERCISE 8.3b: one part less
	 * Holds: the use that this part was is over, and the handle says so; if it was the last
	 *  part the handle is free.
	 * Beware: the granter may have ended: then it is found by no number, PV_GONE_OWNER among
	 *  them. A handle that is free must not be freed again.
	 * Manual: struct pv_handle, vmm/pv/grant/grant.h.
	 * Tools: pv_frame_fits(), pv_grant_release(), pv_grants_of, pv_handle_at(),
	 *  pv_handle_free()
	 */
	exercise_todo("8.3", "handouts/lab8.md#ex-8-3");
	(void)by;
	(void)handle;
	(void)part;
	/* END EXERCISE 8.3b */
}

/* Never a part of its callers: the grader stands in for it where 8.3 is not done yet. */
COLD void
pv_handle_end(struct pv_grants *by, uint32_t handle)
{
	uint32_t flags = pv_handle_at(by, handle)->flags;

	if (flags & XEN_GNTMAP_host_map)
		end_part(by, handle, XEN_GNTMAP_host_map);
	if (flags & XEN_GNTMAP_device_map)
		end_part(by, handle, XEN_GNTMAP_device_map);
}

int
pv_grant_unmap(struct pv_grants *by, const struct xen_gnttab_unmap_grant_ref *u, pte_t *at,
	       pte_t entry)
{
	/*
	 * EXERCISE 8.3c: unmap
	 * Holds: of what is asked for, the parts that this mapping has are over, and `entry` stands
	 *  where it was; what it has not is no error. Or a status of grant.h's, and nothing at all
	 *  has changed.
	 * Beware: a guest says any handle and any address. Meanwhile it may have written another
	 *  entry over the mapping, or one more that leads to the same frame otherwise.
	 * Manual: grant_table.h "GNTTABOP_unmap_grant_ref", of Debian's libxen-dev.
	 * Tools: end_part(), mfn_to_hpa(), PTE_ADDR(), PTE_P, PTE_W, pv_grant_entry(),
	 *  pv_grant_put(), pv_handle()
	 */
	exercise_todo("8.3", "handouts/lab8.md#ex-8-3");
	(void)by; (void)u; (void)at; (void)entry; (void)end_part;
	return XEN_GNTST_general_error;
	/* END EXERCISE 8.3c */
}

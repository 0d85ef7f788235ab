/*
 * Bytes copied from one frame to another, each of its own or granted by somebody: exercise 8.4.
 *
 * No guest runs meanwhile: so nothing is claimed.
 */
#include <kern/kern.h>
#include <vmm/pv/grant/grant.h>

/* EXERCISE 8.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 8.0 */

/* The frame at one end of a copy: a grant of `of`'s, or by its number. An enum xen_gntst. */
static inline int
look(const struct pv_grants *by, struct pv_grants *of, bool granted, uint64_t what, bool writes,
     mfn_t *m)
{
	if (!of)
		return XEN_GNTST_bad_domain;
	if (granted)
		return pv_grant_look(of, (uint32_t)what, by, writes, m);
	*m = pv_frame_granted(by, what);
	return pv_frame_fits(by->owner, *m, writes) ? XEN_GNTST_okay : XEN_GNTST_bad_page;
}

int
pv_grant_copy(struct pv_grants *by, struct pv_grants *from, struct pv_grants *to,
	      const struct xen_gnttab_copy *c)
{
	/*
	 * EXERCISE 8.4b: copy
	 * Holds: the bytes at the one end are those at the other end; or a status of grant.h's, and
	 *  none has changed.
	 * Beware: a frame that is said by its number must be the caller's own. No copy leaves its
	 *  page, at either end, whatever the guest says of lengths. Both ends may be one frame.
	 * Manual: grant_table.h "GNTTABOP_copy", of Debian's libxen-dev.
	 * Tools: look(), memcpy(), memmove(), mfn_ptr()
	 */
	exercise_todo("8.4", "handouts/lab8.md#ex-8-4");
	(void)by; (void)from; (void)to; (void)c; (void)look;
	return XEN_GNTST_general_error;
	/* END EXERCISE 8.4b */
}

/*
 * Bytes copied from one frame to another, each of its own or granted by somebody.
 *
 * No guest runs meanwhile: so nothing is claimed.
 */
#include <kern/kern.h>
#include <vmm/pv/grant/grant.h>

/* The frame at one end, which `by` may use so. */
static inline int
look(const struct pv_grants *by, struct pv_grants *of, bool granted, uint64_t what, bool writes,
     mfn_t *m)
{
	if (!of)
		return XEN_GNTST_bad_domain;
	if (granted)
		return pv_grant_look(of, (uint32_t)what, by, writes, m);
	*m = mfn(what);
	return pv_frame_fits(by->owner, *m, writes) ? XEN_GNTST_okay : XEN_GNTST_bad_page;
}

int
pv_grant_copy(struct pv_grants *by, struct pv_grants *from, struct pv_grants *to,
	      const struct xen_gnttab_copy *c)
{
	bool from_grant = c->flags & XEN_GNTCOPY_source_gref;
	bool to_grant = c->flags & XEN_GNTCOPY_dest_gref;
	mfn_t source, dest;
	int status;

	if ((!from_grant && from != by) || (!to_grant && to != by))
		return XEN_GNTST_permission_denied;
	if (c->source.offset + c->len > (int)PAGE_SIZE || c->dest.offset + c->len > (int)PAGE_SIZE)
		return XEN_GNTST_bad_copy_arg;
	status = look(by, from, from_grant, c->source.what, false, &source);
	if (!status)
		status = look(by, to, to_grant, c->dest.what, true, &dest);
	if (!status)
		memmove((uint8_t *)mfn_ptr(dest) + c->dest.offset,
			(const uint8_t *)mfn_ptr(source) + c->source.offset, c->len);
	return status;
}

/*
 * Free entries of the grant table: a list through an array.
 */
#include <guest/pv/drivers/refs.h>

void
refs_begin(struct refs *r)
{
	*r = (struct refs){ .first = 0 };
	for (uint16_t ref = PV_GRANTS - 1; ref >= REFS_FIRST; ref--) {
		r->next[ref] = r->first;
		r->first = ref;
		r->free++;
	}
}

uint32_t
refs_grant(struct refs *r, uint16_t domain, const void *va, bool readonly)
{
	uint16_t ref = r->first;

	if (!ref)
		return 0;
	r->first = r->next[ref];
	r->free--;
	pv_grant(ref, domain, va, readonly);
	return ref;
}

bool
refs_move(struct refs *r, uint32_t ref, uint16_t domain)
{
	uint16_t flags = pv_grants[ref].flags;

	if (!pv_revoke(ref))
		return false;
	pv_grants[ref].domid = domain;
	pv_grants[ref].flags = flags;
	return true;
}

bool
refs_end(struct refs *r, uint32_t ref)
{
	if (!pv_revoke(ref))
		return false;
	r->next[ref] = r->first;
	r->first = (uint16_t)ref;
	r->free++;
	return true;
}

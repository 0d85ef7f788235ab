/*
 * Entries of a grant table: claimed for a use, and released.
 *
 * The granter runs on no other CPU, but may have anything write into its memory, and a debugger
 * writes between any two instructions. What is read of an entry is read once, or compared when it
 * is changed; behind that, only what Zeno itself keeps is asked.
 */
#include <kern/kern.h>
#include <vmm/pv/grant/grant.h>

#define TRIES 4u /* a granter that changes an entry again and again is refused */

struct pv_grants *pv_grants_of[PV_GRANT_OWNERS];
unsigned pv_orphans;

/* Of one that has been found before. */
static inline struct pv_active *
active_at(struct pv_grants *of, uint32_t ref)
{
	return &of->active[ref / PV_FRAME_GRANTS][ref % PV_FRAME_GRANTS];
}

/* The active one; NULL: the table is not that long, or there is no memory. */
static struct pv_active *
find(struct pv_grants *of, uint32_t ref)
{
	uint32_t n = ref / PV_FRAME_GRANTS;

	if (n >= of->table->frames || (!of->active[n] && !(of->active[n] = host_page())))
		return NULL;
	return active_at(of, ref);
}

union entry {
	uint64_t word;
	struct xen_grant_entry e;
};

static volatile uint64_t *
entry_at(const struct pv_grants *of, uint32_t ref)
{
	return (volatile uint64_t *)&of->table->frame[ref / PV_FRAME_GRANTS][ref % PV_FRAME_GRANTS];
}

static inline bool
allows(struct pv_grants *of, struct xen_grant_entry e, uint16_t user, bool writes)
{
	if ((e.flags & (XEN_GTF_type_mask | XEN_GTF_sub_page)) != XEN_GTF_permit_access) {
		of->odd |= e.flags & XEN_GTF_sub_page ||
			   (e.flags & XEN_GTF_type_mask) == XEN_GTF_transitive;
		return false;
	}
	return e.domid == user && !(writes && e.flags & XEN_GTF_readonly);
}

/* An entry that allows it says that it is in use: all of it is looked at, and changed, as one. */
static int
mark(struct pv_grants *of, uint32_t ref, uint16_t user, bool writes, uint32_t *frame)
{
	volatile uint64_t *at = entry_at(of, ref);
	union entry was = { .word = *at }, is;

	for (unsigned n = 0; n < TRIES; n++) {
		if (!allows(of, was.e, user, writes))
			return XEN_GNTST_general_error;
		is = was;
		is.e.flags |= XEN_GTF_reading | (writes ? XEN_GTF_writing : 0);
		*frame = was.e.frame;
		if (__atomic_compare_exchange_n(at, &was.word, is.word, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return XEN_GNTST_okay;
	}
	return XEN_GNTST_eagain;
}

/* It is in use no more, or not for writing. The other bits are the granter's. */
static inline void
unmark(struct pv_grants *of, uint32_t ref, const struct pv_active *a)
{
	volatile struct xen_grant_entry *e = (volatile struct xen_grant_entry *)entry_at(of, ref);
	uint16_t over = XEN_GTF_writing | (a->readers ? 0 : XEN_GTF_reading);

	if (!a->writers)
		__atomic_and_fetch(&e->flags, (uint16_t)~over, __ATOMIC_SEQ_CST);
}

int
pv_grant_claim(struct pv_grants *of, uint32_t ref, const struct pv_grants *user, bool writes,
	       mfn_t *m)
{
	struct pv_active *a = find(of, ref);
	bool used = a && (a->readers || a->writers);
	uint8_t *uses;
	uint32_t frame;
	int status;

	if (!a)
		return XEN_GNTST_bad_gntref;
	uses = writes ? &a->writers : &a->readers;
	if (used && (a->user != user->name || *uses == PV_GRANT_USES))
		return XEN_GNTST_general_error;
	if (!used || (writes && !a->writers)) {
		status = mark(of, ref, user->name, writes, &frame);
		if (status)
			return status;
	}
	*m = mfn(used ? a->mfn : frame);
	if (!pv_frame_fits(of->owner, *m, writes)) {
		unmark(of, ref, a);
		return XEN_GNTST_bad_page;
	}
	*a = (struct pv_active){ (uint32_t)m->v, user->name, a->readers, a->writers };
	++*uses;
	*(writes ? &frames[m->v].type_refs : &frames[m->v].refs) += 1;
	return XEN_GNTST_okay;
}

int
pv_grant_look(struct pv_grants *of, uint32_t ref, const struct pv_grants *user, bool writes,
	      mfn_t *m)
{
	uint32_t n = ref / PV_FRAME_GRANTS;
	const struct pv_active *a = NULL;
	union entry is;

	if (n >= of->table->frames)
		return XEN_GNTST_bad_gntref;
	if (of->active[n])
		a = active_at(of, ref);
	is.word = *entry_at(of, ref);
	if (a && (a->readers || a->writers)) {
		if (a->user != user->name)
			return XEN_GNTST_general_error;
		if (!writes || a->writers)
			is.e = (struct xen_grant_entry){ XEN_GTF_permit_access, a->user, 0 };
		is.e.frame = a->mfn;
	}
	if (!allows(of, is.e, user->name, writes))
		return XEN_GNTST_general_error;
	*m = mfn(is.e.frame);
	return pv_frame_fits(of->owner, *m, writes) ? XEN_GNTST_okay : XEN_GNTST_bad_page;
}

/* A frame whose domain has ended has none of its refs: behind the last use it is free. */
void
pv_grant_release(struct pv_grants *of, uint32_t ref, mfn_t m, bool writes)
{
	struct frame *f = &frames[m.v];

	*(writes ? &f->type_refs : &f->refs) -= 1;
	if (of) {
		struct pv_active *a = active_at(of, ref);

		--*(writes ? &a->writers : &a->readers);
		unmark(of, ref, a);
	} else if (!f->refs && !f->type_refs)
		pv_orphan_free(m);
}

/*
 * Entries of a grant table: what they allow (exercise 8.1), claimed for a use (8.2), released
 * (8.3), and looked at for a copy (8.4).
 *
 * The granter runs on no other CPU, but may have anything write into its memory, and a debugger
 * writes between any two instructions.
 */
#include <kern/kern.h>
#include <vmm/pv/grant/grant.h>

union entry {
	uint64_t word;
	struct xen_grant_entry e;
};

/* Where it lies in the memory that the granter shares with Zeno. */
static inline volatile uint64_t *
entry_at(const struct pv_grants *of, uint32_t ref)
{
	return (volatile uint64_t *)&of->table->frame[ref / PV_FRAME_GRANTS][ref % PV_FRAME_GRANTS];
}

/* EXERCISE 8.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 8.0 */

inline struct pv_active *
pv_grant_find(struct pv_grants *of, uint32_t ref)
{
	/*
	 * EXERCISE 8.1a: lookup
	 * Holds: the granter's table has this entry, and here is what Zeno keeps beside it; or
	 *  NULL: it has none such, or there is no memory; then nothing has changed.
	 * Beware: another domain has said the number, and it is any number. What is kept is there
	 *  for those parts of the table that somebody has used, and comes a page at a time.
	 * Manual: grant_table.h "GNTTABOP_setup_table", of Debian's libxen-dev; struct pv_grants,
	 *  vmm/pv/grant/grant.h.
	 * Tools: host_page(), pv_active_at(), PV_FRAME_GRANTS, PV_GRANT_FRAMES
	 * Hint: how long is the table of this domain now, and who has said so?
	 * Hint: a street with houses of so many flats each: which house, and is it built?
	 * Hint: a page table of Lab 2 is made when the first address below it is touched, too.
	 * until then: (void)of; (void)ref; return NULL;
	 */
	uint32_t n = ref / PV_FRAME_GRANTS;

	if (n >= of->table->frames || (!of->active[n] && !(of->active[n] = host_page())))
		return NULL;
	return pv_active_at(of, ref);
	/* END EXERCISE 8.1a */
}

inline bool
pv_grant_allows(struct pv_grants *of, struct xen_grant_entry e, uint16_t user, bool writes)
{
	/*
	 * EXERCISE 8.1b: validation
	 * Holds: whether an entry with these words grants this use to this domain.
	 * Beware: all words are the granter's, and mean nothing by themselves. What only tables of
	 *  version 2 have is refused, and sets of->odd, which nothing clears: the granter's console
	 *  is told by it. Nothing else sets it.
	 * Manual: grant_table.h "struct grant_entry_v1", of Debian's libxen-dev.
	 * Tools: XEN_GTF_accept_transfer, XEN_GTF_permit_access, XEN_GTF_readonly,
	 *  XEN_GTF_sub_page, XEN_GTF_transitive, XEN_GTF_type_mask
	 * Hint: which fields say what it is, for whom, and for which use?
	 * Hint: a ticket is of a kind, has a name, and may say "no flash".
	 * Hint: two bits are one number: 3 has both bits of 1 and 2, and is neither of them.
	 * until then: (void)of; (void)e; (void)user; (void)writes; return false;
	 */
	if ((e.flags & (XEN_GTF_type_mask | XEN_GTF_sub_page)) != XEN_GTF_permit_access) {
		of->odd |= e.flags & XEN_GTF_sub_page ||
			   (e.flags & XEN_GTF_type_mask) == XEN_GTF_transitive;
		return false;
	}
	return e.domid == user && !(writes && e.flags & XEN_GTF_readonly);
	/* END EXERCISE 8.1b */
}

/* An entry says that it is in use; *frame is what it grants. An enum xen_gntst. */
static int
mark(struct pv_grants *of, uint32_t ref, uint16_t user, bool writes, uint32_t *frame)
{
	/*
	 * EXERCISE 8.2a: claim
	 * Holds: an entry that allows the use says now that it is read, or written as well, and
	 *  *frame was its frame at that very moment; or a status, and Zeno has written nothing.
	 * Beware: it may be another one before each of your accesses. One change is no reason to
	 *  refuse; a granter that makes them again and again must not keep Zeno here.
	 * Manual: grant_table.h "struct grant_entry_v1"; SDM 2A "CMPXCHG".
	 * Tools: __atomic_compare_exchange_n(), __atomic_or_fetch(), entry_at(),
	 *  pv_grant_allows(), PV_GRANT_TRIES
	 * Hint: between your check and your mark lies time. Which instruction has none in between?
	 * Hint: at a ticket gate somebody swaps tickets while you read. Read it, and tear it only
	 *  if it still is the one that you have read.
	 * Hint: a counter without a lock goes n, n + 1 if it still is n, and otherwise once more.
	 * until then: (void)of; (void)ref; (void)user; (void)writes; (void)entry_at; *frame = 0;
	 * until then: return XEN_GNTST_general_error;
	 */
	volatile uint64_t *at = entry_at(of, ref);
	union entry was = { .word = *at }, is;

	for (unsigned n = 0; n < PV_GRANT_TRIES; n++) {
		if (!pv_grant_allows(of, was.e, user, writes))
			return XEN_GNTST_general_error;
		is = was;
		is.e.flags |= XEN_GTF_reading | (writes ? XEN_GTF_writing : 0);
		*frame = was.e.frame;
		if (__atomic_compare_exchange_n(at, &was.word, is.word, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return XEN_GNTST_okay;
	}
	return XEN_GNTST_eagain;
	/* END EXERCISE 8.2a */
}

inline void
pv_grant_unmark(struct pv_grants *of, uint32_t ref, const struct pv_active *a)
{
	/*
	 * EXERCISE 8.2b: its two bits
	 * Holds: the entry says that it is written only if this active one has writers, and that it
	 *  is read only if that has anybody.
	 * Beware: a use has just ended, or has come to nothing. All other bits of the entry are the
	 *  granter's, who may write them at this moment.
	 * Manual: grant_table.h "GTF_reading, GTF_writing", of Debian's libxen-dev.
	 * Tools: __atomic_and_fetch(), __atomic_store_n(), entry_at(), XEN_GTF_reading,
	 *  XEN_GTF_writing
	 * Hint: who else writes into these sixteen bits, and may its write be lost?
	 * Hint: two people share a blackboard: wipe your own word, and not the board.
	 * Hint: `x = x & ~1` in C is a load and a store; `lock and` is one step.
	 * until then: (void)of; (void)ref; (void)a;
	 */
	volatile struct xen_grant_entry *e = (volatile struct xen_grant_entry *)entry_at(of, ref);
	uint16_t over = XEN_GTF_writing | (a->readers ? 0 : XEN_GTF_reading);

	if (!a->writers)
		__atomic_and_fetch(&e->flags, (uint16_t)~over, __ATOMIC_SEQ_CST);
	/* END EXERCISE 8.2b */
}

int
pv_grant_claim(struct pv_grants *of, uint32_t ref, const struct pv_grants *user, bool writes,
	       mfn_t *m)
{
	/*
	 * EXERCISE 8.2c: one use more
	 * Holds: as grant.h says, with its statuses: on success the entry, what Zeno keeps of it,
	 *  and one of the frame's counts have this use, and *m is the frame. Else all is as before.
	 * Beware: of an entry in use only what Zeno itself has written down is true: its frame and
	 *  its user are no longer the granter's to say. A count has eight bits.
	 * Manual: grant_table.h "struct grant_entry_v1"; struct pv_active.
	 * Tools: mark(), pv_active_at(), pv_frame_fits(), pv_frame_granted(), pv_grant_find(),
	 *  pv_grant_unmark(), PV_GRANT_USES
	 * Hint: when must the entry be asked: for the first use, the second, the first to write?
	 * Hint: a library card is checked when you come in, not at each shelf.
	 * Hint: an inode stays what it was for whoever has opened it, whatever its name leads to
	 *  since.
	 * until then: (void)of; (void)ref; (void)user; (void)writes; (void)mark; *m = MFN_NONE;
	 * until then: return XEN_GNTST_general_error;
	 */
	struct pv_active *a = pv_grant_find(of, ref);
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
	*m = used ? mfn(a->mfn) : pv_frame_granted(of, frame);
	if (!pv_frame_fits(of->owner, *m, writes)) {
		pv_grant_unmark(of, ref, a);
		return XEN_GNTST_bad_page;
	}
	*a = (struct pv_active){ (uint32_t)m->v, user->name, a->readers, a->writers };
	++*uses;
	*(writes ? &frames[m->v].type_refs : &frames[m->v].refs) += 1;
	return XEN_GNTST_okay;
	/* END EXERCISE 8.2c */
}

void
pv_grant_release(struct pv_grants *of, uint32_t ref, mfn_t m, bool writes)
{
	/*
	 * EXERCISE 8.3a: one use less
	 * Holds: all that a claim has counted is counted back, and the entry says so. A frame whose
	 *  domain has ended is free behind its last use.
	 * Beware: then there is no entry, and no granter. The domain itself had one of the frame's
	 *  refs, which went with it.
	 * Manual: struct frame, kern/frame.h; struct pv_active, vmm/pv/grant/grant.h.
	 * Tools: frame_put(), pv_active_at(), pv_grant_unmark(), pv_orphan_free()
	 * Hint: a claim has counted in how many places?
	 * Hint: the last one out of a house that is to be pulled down hands in the key.
	 * Hint: a file that is unlinked while somebody reads it goes with the last close().
	 * until then: (void)of; (void)ref; (void)m; (void)writes;
	 */
	struct frame *f = &frames[m.v];

	*(writes ? &f->type_refs : &f->refs) -= 1;
	if (of) {
		struct pv_active *a = pv_active_at(of, ref);

		--*(writes ? &a->writers : &a->readers);
		pv_grant_unmark(of, ref, a);
	} else if (!f->refs && !f->type_refs)
		pv_orphan_free(m);
	/* END EXERCISE 8.3a */
}

int
pv_grant_look(struct pv_grants *of, uint32_t ref, const struct pv_grants *user, bool writes,
	      mfn_t *m)
{
	/*
	 * EXERCISE 8.4a: a look
	 * Holds: the status that a claim would have, and *m is the frame; nothing is counted, and
	 *  nothing is written: an entry used as often as can be is none too many.
	 * Beware: of an entry in use another frame is meant than it may say by now, and it may
	 *  change between two reads. To write what is only read so far it has to allow that.
	 * Manual: grant_table.h "GNTTABOP_copy", of Debian's libxen-dev.
	 * Tools: entry_at(), pv_active_at(), pv_frame_fits(), pv_frame_granted(),
	 *  pv_grant_allows(), pv_grant_find()
	 * Hint: no guest runs before the copy is over. What of a claim is then not needed?
	 * Hint: whoever looks over your shoulder for a moment takes no chair.
	 * Hint: stat() says what open() would meet, and opens nothing.
	 * until then: (void)of; (void)ref; (void)user; (void)writes; *m = MFN_NONE;
	 * until then: return XEN_GNTST_general_error;
	 */
	uint32_t n = ref / PV_FRAME_GRANTS;
	const struct pv_active *a = NULL;
	union entry is;
	bool used;

	if (n >= of->table->frames)
		return XEN_GNTST_bad_gntref;
	if (of->active[n])
		a = pv_active_at(of, ref);
	is.word = *entry_at(of, ref);
	used = a && (a->readers || a->writers);
	if (used) {
		if (a->user != user->name)
			return XEN_GNTST_general_error;
		if (!writes || a->writers)
			is.e = (struct xen_grant_entry){ XEN_GTF_permit_access, a->user, 0 };
	}
	if (!pv_grant_allows(of, is.e, user->name, writes))
		return XEN_GNTST_general_error;
	*m = used ? mfn(a->mfn) : pv_frame_granted(of, is.e.frame);
	return pv_frame_fits(of->owner, *m, writes) ? XEN_GNTST_okay : XEN_GNTST_bad_page;
	/* END EXERCISE 8.4a */
}

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
	 */
	exercise_todo("8.1", "handouts/lab8.md#ex-8-1");
	(void)of;
	(void)ref;
	return NULL;
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
	 */
	exercise_todo("8.1", "handouts/lab8.md#ex-8-1");
	(void)of;
	(void)e;
	(void)user;
	(void)writes;
	return false;
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
	 */
	exercise_todo("8.2", "handouts/lab8.md#ex-8-2");
	(void)of; (void)ref; (void)user; (void)writes; (void)entry_at; *frame = 0;
	return XEN_GNTST_general_error;
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
	 */
	exercise_todo("8.2", "handouts/lab8.md#ex-8-2");
	(void)of;
	(void)ref;
	(void)a;
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
	 */
	exercise_todo("8.2", "handouts/lab8.md#ex-8-2");
	(void)of; (void)ref; (void)user; (void)writes; (void)mark; *m = MFN_NONE;
	return XEN_GNTST_general_error;
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
	 */
	exercise_todo("8.3", "handouts/lab8.md#ex-8-3");
	(void)of;
	(void)ref;
	(void)m;
	(void)writes;
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
	 */
	exercise_todo("8.4", "handouts/lab8.md#ex-8-4");
	(void)of; (void)ref; (void)user; (void)writes; *m = MFN_NONE;
	return XEN_GNTST_general_error;
	/* END EXERCISE 8.4a */
}

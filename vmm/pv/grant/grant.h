/*
 * Grants: a domain lets another one use frames of its own, by entries in memory that it shares with
 * Zeno (inc/xen_grants.h). An entry is the granter's to write at any moment; so what Zeno has let
 * somebody use stands in Zeno's own memory as well, and nothing but that is asked when it ends:
 *
 *   struct pv_active   beside each entry of a table: who uses it, how often, and which frame it is
 *   struct pv_handle   beside each mapping, in the table of the domain that has it
 *
 * A use for reading is one of its frame's refs, one for writing is one of its type_refs as memory
 * (types.h), whether a page table says so as well or not. So a frame in use becomes no page table,
 * and is nobody else's, even when its domain has ended: it is the host's then, and free behind its
 * last use.
 *
 * Pure: a host test brings its own frames and tables.
 */
#pragma once

#include <vmm/pv/grants.h>
#include <vmm/pv/types.h>

#define PV_GRANT_USES    255u /* of one entry at a time, for reading, and for writing */
#define PV_GRANT_TRIES   4u   /* a granter that changes an entry again and again is refused */
#define PV_HANDLE_FRAMES 64u
#define PV_FRAME_HANDLES 256u
#define PV_GRANT_OWNERS  17u /* domains' numbers are below */

/* Of an entry in use; otherwise nothing of it means anything. */
struct pv_active {
	uint32_t mfn;
	uint16_t user; /* as the granter knows it */
	uint8_t readers, writers;
};
_Static_assert(sizeof(struct pv_active) * PV_FRAME_GRANTS == PAGE_SIZE, "one frame for each");

#define PV_NO_HANDLE   (~0u)
#define PV_AVAIL       9  /* an entry's first bit that is left alone: SDM 3A table 4-20 */
#define PV_GONE_OWNER  0u /* the granter has ended */
#define PV_GRANT_PARTS (XEN_GNTMAP_host_map | XEN_GNTMAP_device_map)
struct pv_handle {
	uint32_t flags; /* XEN_GNTMAP_device_map, XEN_GNTMAP_host_map: what it has; 0: it is none */
	uint32_t ref;   /* of none: the next one */
	uint32_t mfn;
	uint16_t owner; /* the granter's number */
	uint16_t pad;
};
_Static_assert(sizeof(struct pv_handle) * PV_FRAME_HANDLES == PAGE_SIZE, "so many in each");

/* A domain's. */
struct pv_grants {
	uint16_t owner; /* its number, which its frames have */
	uint16_t name;  /* ... as other guests know it, for as long as it asks: dom0's is 0 */
	bool odd;       /* somebody has met an entry that no version 1 has ... */
	bool told;      /* ... which its console has been told */
	bool changed;   /* in this call: entries that the CPU may know */
	struct pv_types *types;
	const struct pv_grant_table *table;
	/* a frame by the number that its domain has for it; NULL: that is the machine's */
	mfn_t (*frame)(uint16_t owner, uint64_t number);
	uint32_t handles;                          /* that there are, free or not */
	uint32_t free_handle;                      /* PV_NO_HANDLE: all are in use */
	struct pv_active *active[PV_GRANT_FRAMES]; /* NULL: none of those entries has been used */
	struct pv_handle *handle[PV_HANDLE_FRAMES];
};
_Static_assert(sizeof(struct pv_grants) <= PAGE_SIZE, "one frame");

/* By number; NULL: that domain has no grants. */
extern struct pv_grants *pv_grants_of[PV_GRANT_OWNERS];

/* The active one of an entry; of one whose page is there. */
static inline struct pv_active *
pv_active_at(const struct pv_grants *of, uint32_t ref)
{
	return &of->active[ref / PV_FRAME_GRANTS][ref % PV_FRAME_GRANTS];
}

/* Of a number that pv_handle_new() has given. */
static inline struct pv_handle *
pv_handle_at(const struct pv_grants *g, uint32_t handle)
{
	return &g->handle[handle / PV_FRAME_HANDLES][handle % PV_FRAME_HANDLES];
}

/* NULL: no such handle, or it is none. */
static inline struct pv_handle *
pv_handle(const struct pv_grants *g, uint32_t handle)
{
	struct pv_handle *h = handle < g->handles ? pv_handle_at(g, handle) : NULL;

	return h && h->flags ? h : NULL;
}

/* The last use of a frame whose domain has ended is over. */
void pv_orphan_free(mfn_t m);

/* Whether this domain's frame may be used so. */
static inline bool
pv_frame_fits(uint16_t owner, mfn_t m, bool writes)
{
	const struct frame *f = &frames[m.v];

	return m.v < frame_count && f->owner == owner && f->type == FRAME_GUEST &&
	       !(writes && pv_is_table(f));
}

/* The frame that a domain means by this number, if any. */
static inline mfn_t
pv_frame_granted(const struct pv_grants *of, uint64_t number)
{
	return of->frame ? of->frame(of->owner, number) : mfn(number);
}

/* ---- handles.c, which is given ---- */

/* So many more as a page has; false: there is no room. */
bool pv_handles_more(struct pv_grants *g);

/* A new one, which has no flags yet, and is free as long; PV_NO_HANDLE: there is no room. */
static inline uint32_t
pv_handle_new(struct pv_grants *g)
{
	uint32_t handle;

	if (g->free_handle == PV_NO_HANDLE && !pv_handles_more(g))
		return PV_NO_HANDLE;
	handle = g->free_handle;
	g->free_handle = pv_handle_at(g, handle)->ref;
	return handle;
}

static inline void
pv_handle_free(struct pv_grants *g, uint32_t handle)
{
	struct pv_handle *h = pv_handle_at(g, handle);

	h->flags = 0;
	h->ref = g->free_handle;
	g->free_handle = handle;
}

/* What leads to this frame in a page table, as a kernel would write it; `flags` of XEN_GNTMAP. */
static inline pte_t
pv_grant_entry(mfn_t m, uint32_t flags)
{
	pte_t entry = PTE_P | PTE_A | mfn_to_hpa(m).v;

	if (!(flags & XEN_GNTMAP_readonly))
		entry |= PTE_W | PTE_D;
	if (flags & XEN_GNTMAP_application_map)
		entry |= PTE_U;
	return entry | (pte_t)(flags >> XEN_GNTMAP_guest_avail0 & 7) << PV_AVAIL;
}

/*
 * An entry of level 1 of `by`'s becomes this one, which may lead to memory of `of`'s (0: of nobody
 * else's). An errno: it may not, and nothing has changed.
 */
int pv_grant_put(struct pv_grants *by, uint16_t of, pte_t *at, pte_t entry);

/*
 * ---- the lab's: what they answer ----
 *
 * A status, an enum xen_gntst. Who asks has made one mistake at most in what the tests ask for: no
 * order of these is right or wrong. Of an entry that does not grant the use the frame is not asked.
 *
 *   general_error (-1)      claim, look: the entry does not grant this use to this domain, or
 *                           somebody else uses it; claim: it is used as often as can be
 *                           map, unmap: pv_grant_put() fails; unmap: something else is there
 *   bad_domain (-2)         copy: there is no such granter
 *   bad_gntref (-3)         claim, look: the table has no such entry, or Zeno no memory for what
 *                           it keeps of it; map: of neither part
 *   bad_handle (-4)         unmap: it is none
 *   bad_virt_addr (-5)      map, unmap, of the host's part: there is no entry at all
 *   bad_dev_addr (-6)       unmap, of the device's part: its address is another one
 *   permission_denied (-8)  copy: a frame by its number, and another domain's
 *   bad_page (-9)           claim, look: what the entry grants is no memory of the granter's that
 *                           may be used so; copy: nor is what is said by its number
 *   bad_copy_arg (-10)      copy: beyond a page's end, at either end
 *   eagain (-12)            claim: the entry changes again and again
 *   no_space (-13)          map: there is no handle for it
 */

/* ---- entry.c ---- */

/* Where Zeno writes down who uses this entry of `of`, which need not be in use; NULL. */
struct pv_active *pv_grant_find(struct pv_grants *of, uint32_t ref);
/* Whether an entry with these words grants this use to `user`, by the granter's name for it. */
bool pv_grant_allows(struct pv_grants *of, struct xen_grant_entry e, uint16_t user, bool writes);
/* An entry's two bits say no more than its active one: in use no more, or not for writing. */
void pv_grant_unmark(struct pv_grants *of, uint32_t ref, const struct pv_active *a);

/*
 * `user` uses what this entry of `of` grants, once more, and *m is the frame. Then the entry says
 * so, and so do its active one and the frame's counts. Otherwise nothing has changed.
 */
int pv_grant_claim(struct pv_grants *of, uint32_t ref, const struct pv_grants *user, bool writes,
		   mfn_t *m);
/* What it would be, for a use that is over before any guest runs: that is not written down. */
int pv_grant_look(struct pv_grants *of, uint32_t ref, const struct pv_grants *user, bool writes,
		  mfn_t *m);
/*
 * A claimed one, once less. `of` is NULL where the granter has ended. A frame that was its may be
 * free then.
 */
void pv_grant_release(struct pv_grants *of, uint32_t ref, mfn_t m, bool writes);

/* ---- map.c ---- */

/* All that it maps is given back; no entry of a page table leads there any more. */
void pv_handle_end(struct pv_grants *by, uint32_t handle);
/*
 * map_grant_ref: `at` is the entry of level 1 that is to lead there (NULL: there is none), and
 * m->handle and m->dev_bus_addr (0: no device has it) are filled in.
 */
int pv_grant_map(struct pv_grants *by, struct pv_grants *of, pte_t *at,
		 struct xen_gnttab_map_grant_ref *m);
/*
 * unmap_grant_ref, of what is asked: the mapping at `at` (NULL: there is no such entry), which
 * becomes `entry`, and the device's.
 */
int pv_grant_unmap(struct pv_grants *by, const struct xen_gnttab_unmap_grant_ref *u, pte_t *at,
		   pte_t entry);

/* ---- copy.c ---- */

/* copy: the ends' domains, `by` itself among them, or NULL: there is none such. */
int pv_grant_copy(struct pv_grants *by, struct pv_grants *from, struct pv_grants *to,
		  const struct xen_gnttab_copy *c);

/* ---- ends.c ---- */

/* Its tables are gone: all that it has mapped is given back. */
void pv_grants_unmap_all(struct pv_grants *by);
/* No domain uses a grant of its any more by its name; how many frames are the host's now. */
unsigned pv_grants_orphan(struct pv_grants *of);
/* Frames of domains that have ended, and which somebody uses. */
extern unsigned pv_orphans;

/*
 * What each frame of a PV guest is used as, and how often: so that a page table never is memory
 * that the guest can write, and the CPU can walk it as it is.
 *
 *   an entry of level 1 without W    one of the frame's refs (the first is the domain's own)
 *   ... with W                       one of its type_refs, as ordinary memory
 *   an entry of level n > 1          one of the type_refs of a page table of level n - 1
 *   a pin, a root in use             one of the type_refs of a page table
 *
 * A frame that nobody uses is ordinary memory; only that can become something else. On the way each
 * of its entries is checked and counted, which makes the tables below; behind its last use all is
 * taken back. Both are one walk over at most four tables (`path`), which can stop at each entry.
 * Until it has come to its end nothing else is asked of types: so no half-made table is ever seen.
 *
 * dom0 also maps frames of domains that it controls (control/): with the same counts in the frame,
 * so that such a frame is no page table while dom0 can write it. A table that has such an entry
 * can't be made one again: only a call that names the domain makes such entries, one at a time.
 *
 * It may also map registers of a device that it has, which are no memory (`device`): they have such
 * counts, too, and nothing comes of them.
 *
 * Each reference is eight bytes of the guest's memory, or one of a few roots, so that no count
 * overflows. Pure: a host test brings its own frames.
 */
#pragma once

#include <kern/frame.h>
#include <kern/paging.h>

/* struct frame's page_type; a page table of level n is n. */
enum pv_page_type { PV_ORDINARY, PV_L1, PV_L2, PV_L3, PV_L4 };

#define PV_ENTRIES 512u
#define PV_HOLE    ((unsigned)(HOLE_LAST_SLOT - HOLE_FIRST_SLOT + 1))
#define PV_KERNEL  (1ul << 52) /* the guest has said that it is not its user's: U was clear */

/* A domain's. */
struct pv_types {
	uint16_t owner; /* whose frames */
	/* whose else an entry of level 1 may lead to, for as long as this is set; 0: nobody's */
	uint16_t foreign;
	/* machine frames of a device that an entry of level 1 may lead to: the first, how many */
	uint64_t device, devices;
	bool controls; /* it has had such entries */
	bool trusts;   /* nobody counts: until exercise 6.5 is done */
	/* set: the CPU may remember what a table was, and forgets it before the guest runs */
	bool *flush;
	bool linear; /* a table was to be one of its own level, too */
	bool told;   /* ... which its console has been told of */
	bool down;   /* the walk takes back */
	bool asked;  /* somebody has asked for `target`, and has not heard yet: `result` */
	/* ... and will not: what he was to have is given up when the walk is over */
	bool forgotten;
	unsigned depth; /* of the path; 0: there is no walk */
	struct {
		uint32_t mfn;
		uint32_t counted; /* entries, from the first on */
	} path[4];
	mfn_t target;
	enum pv_page_type type;
	int result;
	pte_t hole[PV_HOLE]; /* what each root has there: Zeno's own */
};

/*
 * One use more. 0; -EINVAL: it can't be that. -EAGAIN: a walk is on its way: settle, and begin
 * anew. The walk may be this one's own, whose budget (in entries) is used up: then the next one who
 * asks for the same has the answer.
 */
int pv_type_get(struct pv_types *t, mfn_t m, enum pv_page_type type, unsigned *budget);
/* One less, which may begin a walk. */
void pv_type_put(struct pv_types *t, mfn_t m);
/* Goes on with the walk. True: there is none any more. */
bool pv_type_settle(struct pv_types *t, unsigned *budget);
/* Nobody comes for the answer, if there is one: settle. */
void pv_type_forget(struct pv_types *t);

static inline bool
pv_type_busy(const struct pv_types *t)
{
	return t->depth || t->forgotten;
}

/*
 * Writes an entry of a page table in use, `level` its own. Errors as pv_type_get(), and then
 * nothing has changed. May begin a walk.
 */
int pv_type_write(struct pv_types *t, unsigned level, pte_t *at, pte_t entry, unsigned *budget);

/* The frame, if it is the domain's own, or shared with it; NULL. */
static inline struct frame *
pv_own_frame(const struct pv_types *t, mfn_t m)
{
	return m.v < frame_count && frames[m.v].owner == t->owner ? &frames[m.v] : NULL;
}

static inline bool
pv_is_table(const struct frame *f)
{
	return f->page_type != PV_ORDINARY;
}

/* A page of Zeno's that the guest may map, for writing too; it is never anything else. */
static inline void
pv_share(uint16_t owner, const void *page)
{
	struct frame *f = &frames[ptr_mfn(page).v];

	f->next = NULL; /* which is also its type: ordinary */
	f->type_refs = 1;
	f->owner = owner;
}

/*
 * Types and counts of a PV guest's frames: exercise 6.5, and an entry of a table in use: 6.6.
 *
 * What counts what stands in types.h. The walk over a table that is made, or taken apart, is given:
 * it asks count_entry() and uncount_entry() for each entry, and can stop between any two of them.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <vmm/pv/types.h>

/* EXERCISE 6.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 6.0 */

#define AVAILABLE (7ul << 9 | 0x7fful << 52) /* bits that no CPU looks at: SDM 3A table 4-20 */
#define HARMLESS  (PTE_A | PTE_D | PTE_NX | AVAILABLE) /* nothing depends on them */
/* What an entry of any level may have. PS is not among them: a large page is of one type. */
#define ALLOWED (PTE_P | PTE_W | PTE_U | HARMLESS | PTE_ADDR(~0ul))

static inline mfn_t
mfn_in(pte_t entry)
{
	return mfn(PTE_ADDR(entry) >> PAGE_SHIFT);
}

static inline bool
in_hole(unsigned level, unsigned index)
{
	return level == PV_L4 && index - HOLE_FIRST_SLOT < PV_HOLE;
}

/*
 * Kernel and user are both ring 3, so that each entry has U. What the guest has said is kept where
 * a page is mapped, and nowhere else: Linux knows which bits its upper entries have.
 */
static inline pte_t
with_user(unsigned level, pte_t entry)
{
	if ((entry & (PTE_P | PTE_U)) != PTE_P)
		return entry;
	return entry | PTE_U | (level == PV_L1 ? PV_KERNEL : 0);
}

/* One of the domain whose page dom0 maps just now, or of a device that dom0 has; NULL. */
static COLD struct frame *
foreign_frame(const struct pv_types *t, mfn_t m)
{
	bool device = m.v - t->device < t->devices;
	struct frame *f = m.v < frame_count || device ? &frames[m.v] : NULL;

	if (device)
		return f;

	return t->foreign && f && f->owner == t->foreign && f->type == FRAME_GUEST ? f : NULL;
}

static void
fill_hole(const struct pv_types *t, mfn_t root)
{
	memcpy((pte_t *)mfn_ptr(root) + HOLE_FIRST_SLOT, t->hole, sizeof(t->hole));
}

static bool
is_linear(unsigned level, pte_t entry)
{
	return level > PV_L1 && mfn_in(entry).v < frame_count &&
	       frames[mfn_in(entry).v].page_type == level;
}

/* ---- what counts as what ---- */

/*
 * EXERCISE 6.5a: one use more
 * Holds: 0: the frame is a table of this level, and has one use more. -EAGAIN: it becomes one, and
 *  has no use until its entries are counted. -EINVAL: it can't, and nothing has changed.
 * Beware: who asks may name anything. What is being made, or taken apart, has no uses and is no
 *  memory either. Pages of Zeno's that a guest may map have the guest as owner.
 * Manual: vmm/pv/types.h; struct frame, kern/frame.h.
 * Tools: FRAME_GUEST, mfn_ok(), PV_ORDINARY, pv_own_frame()
 */
static int
use_as(struct pv_types *t, mfn_t m, enum pv_page_type type)
{
	if (!pv_own_frame(t, m))
		return -EINVAL;
	if (type == PV_L4)
		fill_hole(t, m);
	else
		exercise_todo("6.5", "handouts/lab6b.md#ex-6-5");
	t->trusts = true;
	return 0;
}
/* END EXERCISE 6.5a */

/* True: that was the last use of a table, which is to be taken apart. */
static inline bool
give_up(mfn_t m)
{
	/*
	 * EXERCISE 6.5b: one use less
	 * Holds: the frame has one use less of its type.
	 * Beware: memory, too, is used, and by this count: it is nothing that could be taken apart.
	 *  What a table is remains written there until the last of its entries is taken back.
	 * Manual: vmm/pv/types.h.
	 * Tools: frames, pv_is_table(), PV_ORDINARY
	 */
	exercise_todo("6.5", "handouts/lab6b.md#ex-6-5");
	(void)m;
	return false;
	/* END EXERCISE 6.5b */
}

static inline int
count_entry(struct pv_types *t, unsigned level, pte_t *entry, unsigned index)
{
	/*
	 * EXERCISE 6.5c: an entry is counted
	 * Holds: what this entry lets the CPU reach is counted, or -EINVAL: it may not be there;
	 *  -EAGAIN: a table is to be made first. It is as the CPU is to see it, refused or not.
	 * Beware: an entry may be any 64 bits. Zeno's slots are not looked at, nor is what is not
	 *  present. dom0 maps pages of others.
	 * Manual: SDM 3A "4-Level Paging and 5-Level Paging"; vmm/pv/types.h.
	 * Tools: ALLOWED, foreign_frame(), in_hole(), mfn_in(), pv_is_table(), PV_L1, PV_ORDINARY,
	 *  pv_own_frame(), use_as(), with_user()
	 */
	exercise_todo("6.5", "handouts/lab6b.md#ex-6-5");
	(void)t; (void)level; (void)entry; (void)index; (void)foreign_frame;
	(void)in_hole; (void)with_user;
	return 0;
	/* END EXERCISE 6.5c */
}

/* True: the table below is to be taken apart. */
static inline bool
uncount_entry(unsigned level, pte_t entry, unsigned index)
{
	/*
	 * EXERCISE 6.5d: an entry is taken back
	 * Holds: what count_entry() has counted for this entry is counted no more.
	 * Beware: it is asked of each entry that was counted, and of no other; but also of those
	 *  for which nothing was.
	 * Manual: vmm/pv/types.h.
	 * Tools: frame_of(), frames, give_up(), in_hole(), mfn_in(), PV_L1
	 */
	exercise_todo("6.5", "handouts/lab6b.md#ex-6-5");
	(void)level;
	(void)entry;
	(void)index;
	(void)give_up;
	return false;
	/* END EXERCISE 6.5d */
}

/* ---- the walk ---- */

/* It becomes a table, or is none any more. The CPU may still write it, or walk it. */
static void
enter(struct pv_types *t, mfn_t m, unsigned counted)
{
	t->path[t->depth].mfn = (uint32_t)m.v;
	t->path[t->depth++].counted = counted;
	*t->flush = true;
}

static void
take_apart(struct pv_types *t, mfn_t m)
{
	if (frames[m.v].page_type == PV_L4)
		memset((pte_t *)mfn_ptr(m) + HOLE_FIRST_SLOT, 0, sizeof(t->hole));
	t->down = true;
	enter(t, m, PV_ENTRIES);
}

/* All of its entries are counted: it is what it was to be, for the one who has asked. */
static void
is_made(struct pv_types *t, struct frame *f, mfn_t m)
{
	if (f->page_type == PV_L4)
		fill_hole(t, m);
	f->type_refs = 1;
	if (--t->depth)
		t->path[t->depth - 1].counted++;
	t->result = 0;
}

static void
count_up(struct pv_types *t, unsigned *budget)
{
	mfn_t m = mfn(t->path[t->depth - 1].mfn);
	uint32_t *counted = &t->path[t->depth - 1].counted;
	struct frame *f = &frames[m.v];
	pte_t *table = mfn_ptr(m);

	for (; *counted < PV_ENTRIES && *budget; ++*counted, --*budget) {
		int err = count_entry(t, f->page_type, &table[*counted], *counted);

		if (err == -EAGAIN) {
			enter(t, mfn_in(table[*counted]), 0);
			return;
		}
		if (err) {
			t->linear |= is_linear(f->page_type, table[*counted]);
			t->result = err;
			t->down = true;
			return;
		}
	}
	if (*counted == PV_ENTRIES)
		is_made(t, f, m);
}

static void
count_down(struct pv_types *t, unsigned *budget)
{
	mfn_t m = mfn(t->path[t->depth - 1].mfn);
	uint32_t *counted = &t->path[t->depth - 1].counted;
	struct frame *f = &frames[m.v];
	const pte_t *table = mfn_ptr(m);

	for (; *counted && *budget; --*budget) {
		unsigned index = --*counted;

		if (uncount_entry(f->page_type, table[index], index)) {
			take_apart(t, mfn_in(table[index]));
			return;
		}
	}
	if (!*counted) {
		f->page_type = PV_ORDINARY;
		t->depth--;
	}
}

/* ---- uses ---- */

void
pv_type_put(struct pv_types *t, mfn_t m)
{
	if (give_up(m))
		take_apart(t, m);
}

bool
pv_type_settle(struct pv_types *t, unsigned *budget)
{
	for (;;) {
		while (t->depth && *budget)
			if (t->down)
				count_down(t, budget);
			else
				count_up(t, budget);
		if (t->depth || !t->forgotten)
			return !t->depth;
		t->forgotten = false;
		if (!t->result)
			pv_type_put(t, t->target);
	}
}

void
pv_type_forget(struct pv_types *t)
{
	t->forgotten |= t->asked;
	t->asked = false;
}

int
pv_type_get(struct pv_types *t, mfn_t m, enum pv_page_type type, unsigned *budget)
{
	int err;

	if (!pv_own_frame(t, m))
		return -EINVAL;
	if (t->asked && (t->target.v != m.v || t->type != type))
		pv_type_forget(t);
	if (pv_type_busy(t))
		return -EAGAIN; /* what the caller knows of other frames may be so no more then */
	if (!t->asked) {
		err = use_as(t, m, type);
		if (err != -EAGAIN)
			return err;
		t->down = false;
		t->asked = true;
		t->target = m;
		t->type = type;
		enter(t, m, 0);
		if (!pv_type_settle(t, budget))
			return -EAGAIN;
	}
	t->asked = false;
	return t->result;
}

/* ---- an entry of a table in use ---- */

static int
entry_get(struct pv_types *t, unsigned level, pte_t entry, unsigned *budget)
{
	if (!(entry & PTE_P) || level == PV_L1)
		return count_entry(t, level, &entry, 0);
	if (entry & ~ALLOWED)
		return -EINVAL;
	t->linear |= is_linear(level, entry);
	return pv_type_get(t, mfn_in(entry), level - 1, budget);
}

/*
 * EXERCISE 6.6a: an entry of a table in use
 * Holds: the entry is there, what it reaches is counted, and what was reached before is not. Errors
 *  as pv_type_get(), and then nothing has changed.
 * Beware: what nobody counts any more may be taken apart at once, and be memory that the guest
 *  writes. Kernels set bits on which nothing depends all the time: that is to cost little.
 * Manual: SDM 3A "4-Level Paging and 5-Level Paging", "Accessed and Dirty Flags".
 * Tools: ALLOWED, entry_get(), HARMLESS, in_hole(), mfn_in(), PV_ENTRIES, take_apart(),
 *  uncount_entry(), with_user()
 */
static INLINED int
write_entry(struct pv_types *t, unsigned level, pte_t *at, pte_t entry, unsigned *budget)
{
	if (t->trusts) {
		*at = entry;
		return 0;
	}
	(void)entry_get;
	exercise_todo("6.6", "handouts/lab6b.md#ex-6-6");
	return -ENOSYS;
}
/* END EXERCISE 6.6a */

static APART int
write_upper(struct pv_types *t, unsigned level, pte_t *at, pte_t entry, unsigned *budget)
{
	return write_entry(t, level, at, entry, budget);
}

/* Most are of level 1, which makes no table and takes none apart. */
int
pv_type_write(struct pv_types *t, unsigned level, pte_t *at, pte_t entry, unsigned *budget)
{
	return level == PV_L1 ? write_entry(t, PV_L1, at, entry, budget)
			      : write_upper(t, level, at, entry, budget);
}

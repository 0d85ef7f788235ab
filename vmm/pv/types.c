/*
 * Types and counts of a PV guest's frames: types.h.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/kern.h>
#include <vmm/pv/types.h>

#define AVAILABLE (7ul << 9 | 0x7fful << 52) /* bits that no CPU looks at: SDM 3A table 4-20 */
#define HARMLESS  (PTE_A | PTE_D | PTE_NX | AVAILABLE) /* nothing depends on them */
/* What an entry of any level may have. PS is not among them: a large page is of one type. */
#define ALLOWED (PTE_P | PTE_W | PTE_U | HARMLESS | PTE_ADDR(~0ul))

static mfn_t
mfn_in(pte_t entry)
{
	return mfn(PTE_ADDR(entry) >> PAGE_SHIFT);
}

static bool
in_hole(unsigned level, unsigned index)
{
	return level == PV_L4 && index - HOLE_FIRST_SLOT < PV_HOLE;
}

/*
 * Kernel and user are both ring 3, so that each entry has U. What the guest has said is kept where
 * a page is mapped, and nowhere else: Linux knows which bits its upper entries have.
 */
static pte_t
with_user(unsigned level, pte_t entry)
{
	if ((entry & (PTE_P | PTE_U)) != PTE_P)
		return entry;
	return entry | PTE_U | (level == PV_L1 ? PV_KERNEL : 0);
}

/* ---- an entry of level 1 ---- */

static COLD struct frame *
foreign_frame(const struct pv_types *t, mfn_t m)
{
	struct frame *f = m.v < frame_count ? &frames[m.v] : NULL;

	return t->foreign && f && f->owner == t->foreign && f->type == FRAME_GUEST ? f : NULL;
}

static inline int
leaf_get(const struct pv_types *t, pte_t entry)
{
	struct frame *f = pv_own_frame(t, mfn_in(entry));

	if (!f)
		f = foreign_frame(t, mfn_in(entry));
	if (entry & ~ALLOWED || !f)
		return -EINVAL;
	if (!(entry & PTE_W))
		f->refs++;
	else if (f->page_type == PV_ORDINARY)
		f->type_refs++;
	else
		return -EINVAL;
	return 0;
}

static inline void
leaf_put(pte_t entry)
{
	struct frame *f = &frames[mfn_in(entry).v];

	if (entry & PTE_W)
		f->type_refs--;
	else
		f->refs--;
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

static bool
can_become(const struct frame *f)
{
	return f->type == FRAME_GUEST && f->page_type == PV_ORDINARY && !f->type_refs;
}

static void
take_apart(struct pv_types *t, mfn_t m)
{
	if (frames[m.v].page_type == PV_L4)
		memset((pte_t *)mfn_ptr(m) + HOLE_FIRST_SLOT, 0, sizeof(t->hole));
	t->down = true;
	enter(t, m, PV_ENTRIES);
}

/* The table that an entry leads to. -EAGAIN: the walk goes on there. */
static int
below_get(struct pv_types *t, unsigned level, pte_t entry)
{
	struct frame *f = pv_own_frame(t, mfn_in(entry));

	if (entry & ~ALLOWED || !f)
		return -EINVAL;
	if (f->page_type == level - 1 && f->type_refs) {
		f->type_refs++;
		return 0;
	}
	if (f->page_type == level)
		t->linear = true;
	if (!can_become(f))
		return -EINVAL;
	f->page_type = (uint8_t)(level - 1);
	enter(t, mfn_in(entry), 0);
	return -EAGAIN;
}

static int
count_entry(struct pv_types *t, unsigned level, pte_t *entry, unsigned index)
{
	if (!(*entry & PTE_P) || in_hole(level, index))
		return 0;
	*entry = with_user(level, *entry);
	return level == PV_L1 ? leaf_get(t, *entry) : below_get(t, level, *entry);
}

/* All of its entries are counted: it is what it was to be, for the one who has asked. */
static void
is_made(struct pv_types *t, struct frame *f, pte_t *table)
{
	if (f->page_type == PV_L4)
		memcpy(table + HOLE_FIRST_SLOT, t->hole, sizeof(t->hole));
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

		if (err == -EAGAIN)
			return;
		if (err) {
			t->result = err;
			t->down = true;
			return;
		}
	}
	if (*counted == PV_ENTRIES)
		is_made(t, f, table);
}

/* True: the walk goes on in the table below, which nobody uses any more. */
static bool
uncount_entry(struct pv_types *t, unsigned level, pte_t entry, unsigned index)
{
	struct frame *f = &frames[mfn_in(entry).v];

	if (!(entry & PTE_P) || in_hole(level, index))
		return false;
	if (level == PV_L1) {
		leaf_put(entry);
		return false;
	}
	if (--f->type_refs)
		return false;
	take_apart(t, mfn_in(entry));
	return true;
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

		if (uncount_entry(t, f->page_type, table[index], index))
			return;
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
	struct frame *f = &frames[m.v];

	if (!--f->type_refs && f->page_type != PV_ORDINARY)
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
	struct frame *f = pv_own_frame(t, m);

	if (!f)
		return -EINVAL;
	if (t->asked && (t->target.v != m.v || t->type != type))
		pv_type_forget(t);
	if (pv_type_busy(t))
		return -EAGAIN; /* what the caller knows of other frames may be so no more then */
	if (!t->asked && f->page_type == type && f->type_refs) {
		f->type_refs++;
		return 0;
	}
	if (!t->asked && !can_become(f))
		return -EINVAL;
	if (!t->asked) {
		f->page_type = (uint8_t)type;
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
	if (!(entry & PTE_P))
		return 0;
	if (level == PV_L1)
		return leaf_get(t, entry);
	if (entry & ~ALLOWED)
		return -EINVAL;
	t->linear |= mfn_in(entry).v < frame_count && frames[mfn_in(entry).v].page_type == level;
	return pv_type_get(t, mfn_in(entry), level - 1, budget);
}

int
pv_type_write(struct pv_types *t, unsigned level, pte_t *at, pte_t entry, unsigned *budget)
{
	pte_t old = *at;
	int err;

	if (in_hole(level, (uint64_t)at / sizeof(*at) % PV_ENTRIES))
		return -EINVAL;
	entry = with_user(level, entry);
	if (!((old ^ entry) & ~HARMLESS)) {
		*at = entry;
		return 0;
	}
	err = entry_get(t, level, entry, budget);
	if (err)
		return err;
	*at = entry;
	if (!(old & PTE_P))
		return 0;
	if (level == PV_L1)
		leaf_put(old);
	else
		pv_type_put(t, mfn_in(old));
	return 0;
}

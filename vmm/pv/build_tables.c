/*
 * The page tables that a PV kernel starts on. Kernel and user are both ring 3, so every entry has
 * U; no entry of a page table's own frame has W (SDM 3A 4.5, 4.6).
 */
#include <inc/addr.h>
#include <kern/paging.h>
#include <vmm/pv/builder.h>

#define LEVELS 4u
#define INNER  (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

static unsigned
shift_of(unsigned level)
{
	return PAGE_SHIFT + 9 * (level - 1);
}

/* Tables of this level: as many as there are different addresses above what one of them covers. */
static uint64_t
tables_at(unsigned level, uint64_t from, uint64_t pages)
{
	uint64_t last = from + (pages << PAGE_SHIFT) - 1;

	if (level == LEVELS)
		return 1;
	return (last >> shift_of(level + 1)) - (from >> shift_of(level + 1)) + 1;
}

uint64_t
pv_tables_for(uint64_t from, uint64_t pages)
{
	uint64_t n = 0;

	for (unsigned level = 1; level <= LEVELS; level++)
		n += tables_at(level, from, pages);
	return n;
}

static void
put(const struct pv_ops *ops, void *ctx, uint64_t table, unsigned index, uint64_t pfn, pte_t flags)
{
	((pte_t *)ops->page(ctx, table))[index] = ops->mfn(ctx, pfn) << PAGE_SHIFT | flags;
}

static bool
is_table(const struct pv_plan *p, uint64_t pfn)
{
	return pfn - p->tables_pfn < p->tables;
}

static bool
is_left_out(const struct pv_plan *p, uint64_t pfn)
{
	return pfn - p->unmapped_from < p->unmapped;
}

/* So many pages from `pfn` on, seen from a linear address on. */
struct region {
	uint64_t from, pages, pfn;
};

/* The tables of the row below have their entries in those of this row. The row below that one. */
static uint64_t
link_row(const struct pv_ops *ops, void *ctx, const struct region *r, uint64_t row, uint64_t below,
	 unsigned level)
{
	uint64_t first = r->from >> shift_of(level),
		 count = tables_at(level - 1, r->from, r->pages);

	for (uint64_t k = 0; k < count; k++) {
		put(ops, ctx, row + ((first + k) >> 9) - (first >> 9), (first + k) & 511, below + k,
		    INNER);
		if (ops->is_table)
			ops->is_table(ctx, below + k, level - 1);
	}
	return below + count;
}

/*
 * From the top down: the tables of a level lie in a row, in the order of what they map, so that
 * the n-th of one level has its entry in the row above. All but the root lie from `tables` on.
 */
static void
map(const struct pv_plan *p, const struct pv_ops *ops, void *ctx, const struct region *r,
    uint64_t tables)
{
	uint64_t first = r->from >> PAGE_SHIFT, row = p->tables_pfn, below = tables;

	for (unsigned level = LEVELS; level > 1; level--) {
		uint64_t next = link_row(ops, ctx, r, row, below, level);

		row = below;
		below = next;
	}
	for (uint64_t k = 0; k < r->pages; k++)
		if (!is_left_out(p, r->pfn + k))
			put(ops, ctx, row + ((first + k) >> 9) - (first >> 9), (first + k) & 511,
			    r->pfn + k, is_table(p, r->pfn + k) ? INNER & ~(PTE_W | PTE_D) : INNER);
}

void
pv_build_tables(const struct pv_plan *p, const struct pv_ops *ops, void *ctx)
{
	const struct region all = { p->image->virt_base, p->mapped, 0 };
	const struct region p2m = { p->image->init_p2m, p->p2m_pages, p->p2m_pfn };

	if (ops->is_table)
		ops->is_table(ctx, p->tables_pfn, LEVELS);
	map(p, ops, ctx, &all, p->tables_pfn + 1);
	if (p->p2m_tables)
		map(p, ops, ctx, &p2m, p->stack_pfn - p->p2m_tables);
}

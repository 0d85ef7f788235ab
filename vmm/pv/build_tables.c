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

/* The tables of the row below have their entries in those of this row. The row below. */
static uint64_t
link_row(const struct pv_plan *p, const struct pv_ops *ops, void *ctx, uint64_t row, unsigned level)
{
	uint64_t from = p->image->virt_base, first = from >> shift_of(level);
	uint64_t below = row + tables_at(level, from, p->mapped);

	for (uint64_t k = 0; k < tables_at(level - 1, from, p->mapped); k++)
		put(ops, ctx, row + ((first + k) >> 9) - (first >> 9), (first + k) & 511, below + k,
		    INNER);
	return below;
}

/*
 * From the top down: the tables of a level lie in a row, in the order of what they map, so that
 * the n-th of one level has its entry in the row above.
 */
void
pv_build_tables(const struct pv_plan *p, const struct pv_ops *ops, void *ctx)
{
	uint64_t first = p->image->virt_base >> PAGE_SHIFT, row = p->tables_pfn;

	for (unsigned level = LEVELS; level >= 1; level--) {
		for (uint64_t k = 0; k < tables_at(level, p->image->virt_base, p->mapped); k++)
			if (ops->is_table)
				ops->is_table(ctx, row + k, level);
		if (level > 1)
			row = link_row(p, ops, ctx, row, level);
	}
	for (uint64_t pfn = 0; pfn < p->mapped; pfn++)
		if (!is_left_out(p, pfn))
			put(ops, ctx, row + ((first + pfn) >> 9) - (first >> 9),
			    (first + pfn) & 511, pfn,
			    is_table(p, pfn) ? INNER & ~(PTE_W | PTE_D) : INNER);
}

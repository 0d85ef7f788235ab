/*
 * The page tables that a PV kernel starts on: exercise 6.4. Kernel and user are both ring 3, so
 * every entry has U (SDM 3A 4.5, 4.6); pv_link_table() and pv_put_page() see to that.
 *
 *   pt_base: | root | the other tables that map the domain's memory | those for INIT_P2M |
 *            |<-------------------- nr_pt_frames, one page each --------------------->|
 */
#include <inc/addr.h>
#include <kern/kern.h>
#include <kern/paging.h>
#include <vmm/pv/builder.h>

#define LEVELS 4u

/* EXERCISE 6.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 6.0 */

/*
 * EXERCISE 6.4a: how many
 * Holds: so many tables, the root among them, map these pages and no others.
 * Beware: a page is all that an address here is a multiple of. The last page may be the last there
 *  is, with no address behind it. Without room for its tables no domain is built, so what is said
 *  here is what is taken.
 * Manual: SDM 3A "4-Level Paging and 5-Level Paging".
 * Tools: LEVELS, PAGE_SHIFT, pv_shift(), pv_va()
 * Hint: 512 pages take one table of level 1. Always?
 * Hint: a calendar has a sheet for each month. A holiday of thirty days is on one sheet or on two:
 *  what tells which, and do the thirty days alone?
 * Hint: shadow paging counts so, too: 8 KiB that begin 4 KiB below a multiple of 4 MiB lie in two
 *  entries of a directory, though they are two pages of a thousand.
 * until then:
 * uint64_t
 * pv_tables_for(uint64_t from, uint64_t pages)
 * {
 * 	if (pv_plain_fits(from, pages))
 * 		return pv_plain_tables_for(pages);
 * 	exercise_todo("6.4", "handouts/lab6b.md#ex-6-4");
 * 	return 0;
 * }
 */
/* Tables of this level: as many as there are different addresses above what one of them covers. */
static uint64_t
tables_at(unsigned level, uint64_t from, uint64_t pages)
{
	uint64_t last = from + (pages << PAGE_SHIFT) - 1;

	if (level == LEVELS)
		return 1;
	return (last >> pv_shift(level + 1)) - (from >> pv_shift(level + 1)) + 1;
}

uint64_t
pv_tables_for(uint64_t from, uint64_t pages)
{
	uint64_t n = 0;

	for (unsigned level = 1; level <= LEVELS; level++)
		n += tables_at(level, from, pages);
	return n;
}
/* END EXERCISE 6.4a */

/*
 * EXERCISE 6.4b: what is in them
 * Holds: the region's pages are mapped where it says, each once, with the root and with tables from
 *  this one on; nothing else is mapped.
 * Beware: the guest may write its memory, and no page table. A page that the plan leaves out is not
 *  mapped. The region's addresses may lie on both sides of any border.
 * Manual: SDM 3A "4-Level Paging and 5-Level Paging", "Access Rights"; xen.h "Start-of-day memory
 *  layout", of Debian's libxen-dev.
 * Tools: LEVELS, PAGE_SHIFT, pv_link_table(), pv_put_page(), pv_shift(), pv_va()
 * Hint: when a page's entry is to be written, where is the table that it belongs to, and who knows?
 * Hint: a book's chapters follow each other; so do their lists of contents, if somebody writes them
 *  down in the same order.
 * Hint: Zeno's own boot code maps 1 GiB with one table of level 2 whose entries have PS: there the
 *  entry's place is known from the address alone, since there is one table of each level.
 * until then:
 * static void
 * map(const struct pv_plan *p, const struct pv_ops *ops, void *ctx, const struct pv_region *r,
 *     uint64_t tables)
 * {
 * 	if (pv_plain_fits(r->from, r->pages))
 * 		pv_plain_map(p, ops, ctx, r, tables);
 * 	else
 * 		exercise_todo("6.4", "handouts/lab6b.md#ex-6-4");
 * }
 */
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

/* The tables of the row below have their entries in those of this row. The row below that one. */
static uint64_t
link_row(const struct pv_ops *ops, void *ctx, const struct pv_region *r, uint64_t row,
	 uint64_t below, unsigned level)
{
	uint64_t first = r->from >> pv_shift(level),
		 last = (r->from + (r->pages << PAGE_SHIFT) - 1) >> pv_shift(level);

	for (uint64_t k = 0; k <= last - first; k++)
		pv_link_table(ops, ctx, row + ((first + k) >> 9) - (first >> 9), (first + k) & 511,
			      below + k, level - 1);
	return below + last - first + 1;
}

/*
 * From the top down: the tables of a level lie in a row, in the order of what they map, so that
 * the n-th of one level has its entry in the row above. All but the root lie from `tables` on.
 */
static void
map(const struct pv_plan *p, const struct pv_ops *ops, void *ctx, const struct pv_region *r,
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
			pv_put_page(ops, ctx, row + ((first + k) >> 9) - (first >> 9),
				    (first + k) & 511, r->pfn + k, !is_table(p, r->pfn + k));
}
/* END EXERCISE 6.4b */

void
pv_build_tables(const struct pv_plan *p, const struct pv_ops *ops, void *ctx)
{
	const struct pv_region all = { p->image->virt_base, p->mapped, 0 };
	const struct pv_region p2m = { p->image->init_p2m, p->p2m_pages, p->p2m_pfn };

	if (ops->is_table)
		ops->is_table(ctx, p->tables_pfn, LEVELS);
	map(p, ops, ctx, &all, p->tables_pfn + 1);
	if (p->p2m_tables)
		map(p, ops, ctx, &p2m, p->stack_pfn - p->p2m_tables);
}

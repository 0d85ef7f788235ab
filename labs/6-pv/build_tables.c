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
 */
uint64_t
pv_tables_for(uint64_t from, uint64_t pages)
{
	if (pv_plain_fits(from, pages))
		return pv_plain_tables_for(pages);
	exercise_todo("6.4", "handouts/lab6b.md#ex-6-4");
	return 0;
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
 */
static void
map(const struct pv_plan *p, const struct pv_ops *ops, void *ctx, const struct pv_region *r,
    uint64_t tables)
{
	if (pv_plain_fits(r->from, r->pages))
		pv_plain_map(p, ops, ctx, r, tables);
	else
		exercise_todo("6.4", "handouts/lab6b.md#ex-6-4");
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

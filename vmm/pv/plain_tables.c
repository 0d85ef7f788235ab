/*
 * Page tables for a kernel that makes it easy, which stand in for exercise 6.4 until that is done:
 * all lies below one table of level 2, from a multiple of 2 MiB on.
 */
#include <inc/addr.h>
#include <kern/paging.h>
#include <vmm/pv/builder.h>

#define TABLE_PAGES 512u
#define TABLE_BYTES (2ul << 20) /* what a table of level 1 maps */
#define LEVEL2_BITS 30          /* of an address, below one table of level 2 */

bool
pv_plain_fits(uint64_t from, uint64_t pages)
{
	uint64_t within = from & ((1ul << LEVEL2_BITS) - 1);

	return !(from % TABLE_BYTES) && within + pages * PAGE_SIZE <= 1ul << LEVEL2_BITS;
}

uint64_t
pv_plain_tables_for(uint64_t pages)
{
	return 3 + (pages + TABLE_PAGES - 1) / TABLE_PAGES;
}

void
pv_plain_map(const struct pv_plan *p, const struct pv_ops *ops, void *ctx,
	     const struct pv_region *r, uint64_t tables)
{
	unsigned slot = (unsigned)(r->from / TABLE_BYTES % TABLE_PAGES);

	pv_link_table(ops, ctx, p->tables_pfn, r->from >> 39 & 511, tables, 3);
	pv_link_table(ops, ctx, tables, r->from >> 30 & 511, tables + 1, 2);
	for (uint64_t n = 0; n < r->pages; n++) {
		uint64_t pfn = r->pfn + n, leaf = tables + 2 + n / TABLE_PAGES;
		bool guards = pfn >= p->tables_pfn && pfn < p->tables_pfn + p->tables;

		if (n % TABLE_PAGES == 0)
			pv_link_table(ops, ctx, tables + 1, slot++, leaf, 1);
		if (pfn < p->unmapped_from || pfn >= p->unmapped_from + p->unmapped)
			pv_put_page(ops, ctx, leaf, n % TABLE_PAGES, pfn, !guards);
	}
}

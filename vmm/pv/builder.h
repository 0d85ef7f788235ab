/*
 * The domain builder: what a PV kernel finds in memory when it starts (xen.h, "Start-of-day memory
 * layout"). Pure, behind a table of operations, so that whoever can write a domain's memory can
 * build it: Zeno itself, a test.
 *
 *   pfn 0 = VIRT_BASE
 *   | kernel image | initrd | p2m | start_info | store | console | page tables | boot stack | ...
 *
 * All of that is mapped, one page behind the other; page tables are read-only to the guest, since
 * the CPU uses them as they are. SIF_MOD_START_PFN leaves the initrd out of the map. With INIT_P2M
 * the p2m comes behind all that is mapped, and is mapped where that note says.
 */
#pragma once

#include <vmm/pv/image.h>

struct pv_ops {
	uint8_t *(*page)(void *ctx, uint64_t pfn); /* its bytes, zero at first */
	uint64_t (*mfn)(void *ctx, uint64_t pfn);
	/* It is a page table of this level from now on; NULL: nobody wants to know. */
	void (*is_table)(void *ctx, uint64_t pfn, unsigned level);
};

/* Where everything goes: page frames of the guest's own numbering. */
struct pv_plan {
	const struct pv_image *image;
	uint64_t pages; /* that the domain has */
	const uint8_t *module;
	uint64_t module_size;
	uint64_t module_pfn, p2m_pfn, p2m_pages, info_pfn, store_pfn, console_pfn;
	uint32_t store_port, console_port; /* whoever builds says which */
	uint64_t tables_pfn, tables, stack_pfn;
	uint64_t p2m_tables;              /* the last of them, for INIT_P2M; 0 without */
	uint64_t mapped;                  /* pages from VIRT_BASE on */
	uint64_t unmapped_from, unmapped; /* ... but for these pages: an initrd by pfn */
};

/* What vCPU 0 begins with; all else is zero. */
struct pv_start {
	uint64_t rip, rsp, rsi, root_pfn;
};

/* NULL, or what is wrong with the image, or too small. */
const char *pv_make_plan(struct pv_plan *p, const struct pv_image *i, uint64_t pages,
			 const uint8_t *module, uint64_t module_size);
/* Fills the domain's memory; cannot fail. `shared_info`: its machine address. */
struct pv_start pv_build(const struct pv_plan *p, const struct pv_ops *ops, void *ctx,
			 uint64_t shared_info, const char *words);

/* ---- page tables: exercise 6.4 ---- */

/* So many pages from `pfn` on, seen from a linear address on. */
struct pv_region {
	uint64_t from, pages, pfn;
};

/* Bits of an address below those by which an entry of this level is found. */
static inline unsigned
pv_shift(unsigned level)
{
	return 12 + 9 * (level - 1);
}

uint64_t pv_tables_for(uint64_t from, uint64_t pages);
void pv_build_tables(const struct pv_plan *p, const struct pv_ops *ops, void *ctx);

/* An entry that leads to a table of level `level`; one that maps a page. */
void pv_link_table(const struct pv_ops *ops, void *ctx, uint64_t table, unsigned index,
		   uint64_t below, unsigned level);
void pv_put_page(const struct pv_ops *ops, void *ctx, uint64_t table, unsigned index, uint64_t pfn,
		 bool writable);

/* plain_tables.c: until then. */
bool pv_plain_fits(uint64_t from, uint64_t pages);
uint64_t pv_plain_tables_for(uint64_t pages);
void pv_plain_map(const struct pv_plan *p, const struct pv_ops *ops, void *ctx,
		  const struct pv_region *r, uint64_t tables);

static inline uint64_t
pv_va(const struct pv_plan *p, uint64_t pfn)
{
	return p->image->virt_base + (pfn << 12);
}

/*
 * dom0's spare memory. Behind the boot stack all of a domain's memory is nobody's; the builder maps
 * the first of it, and the rest is mapped as it is needed, by tables of the same memory.
 */
#include <guest/dom0/pages.h>
#include <guest/pv/lib/events.h>
#include <guest/pv/lib/text.h>

#define PAGE  4096u
#define FLAGS (PTE_P | PTE_W | PTE_U)

static uint64_t next; /* the first page of the domain's that nobody has had; 0: nobody has asked */
static struct free {
	struct free *next;
} * given;
static size_t given_count;

static uint64_t
first(void)
{
	return (pv_info->pt_base - (uint64_t)virt_base) / PAGE + pv_info->nr_pt_frames + 1;
}

static uint64_t
mfn_of(uint64_t pfn)
{
	return ((const uint64_t *)pv_info->mfn_list)[pfn];
}

/* Where the entry of level 2 for an address is, as machines have it. */
static uint64_t
entry_of(uint64_t va)
{
	uint64_t *table = (uint64_t *)pv_info->pt_base;

	for (unsigned shift = 39; shift > 21; shift -= 9)
		table = pv_machine_page(table[va >> shift & 511] >> 12 & 0xffffffffff);
	return pv_page(table) << 12 | (va >> 21 & 511) * 8;
}

/* The next page has an address; where no table leads there, it is one itself. */
static void *
map_next(void)
{
	uint8_t *va = virt_base + next * PAGE;

	if (pv_map(va, mfn_of(next) << 12 | FLAGS)) {
		if (next + 1 >= pv_info->nr_pages ||
		    pv_update(entry_of((uint64_t)va), mfn_of(next) << 12 | FLAGS))
			return NULL;
		va = virt_base + ++next * PAGE;
		if (pv_map(va, mfn_of(next) << 12 | FLAGS))
			return NULL;
	}
	next++;
	return va;
}

size_t
pages_left(void)
{
	return given_count + pv_info->nr_pages - (next ? next : first());
}

void *
page_take(void)
{
	void *page = given;

	if (given) {
		given = given->next;
		given_count--;
		return memset(page, 0, PAGE);
	}
	if (!next)
		next = first();
	return next < pv_info->nr_pages ? map_next() : NULL; /* it has never been written */
}

void
page_give(void *page)
{
	struct free *f = page;

	f->next = given;
	given = f;
	given_count++;
}

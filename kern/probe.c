/*
 * Reading memory that may not be there, without a fault: for commands that take an address from a
 * person, and for whoever follows pointers in a kernel that has just gone wrong.
 */
#include <inc/errno.h>
#include <kern/boot/bootinfo.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/probe.h>

static bool
is_host(uint64_t va)
{
	return va >= SLOT(HOLE_FIRST_SLOT) && va < SLOT(HOLE_LAST_SLOT + 1);
}

static bool
is_mapped(uint64_t va)
{
	int level;
	pte_t *entry = page_entry(hpa_to_mfn(hpa(read_cr3())), va, &level);

	return entry && (*entry & PTE_P);
}

int
kernel_read(uint64_t va, uint64_t *out)
{
	uint64_t last = va + sizeof(*out) - 1;

	if (!is_host(va) || !is_host(last) || !is_mapped(va) || !is_mapped(last))
		return -EFAULT;
	memcpy(out, (const void *)va, sizeof(*out));
	return 0;
}

/* The range of the memory map that holds `paddr`: one that is not RAM wins over one that is. */
static const struct memory_range *
range_of(uint64_t paddr)
{
	const struct memory_range *found = NULL;

	for (unsigned i = 0; i < memory_range_count; i++) {
		const struct memory_range *r = &memory_ranges[i];

		if (paddr < r->base || paddr - r->base >= r->length)
			continue;
		if (r->type != MEMORY_RAM)
			return r;
		found = r;
	}
	return found;
}

/* Where the nearest range that starts above `paddr` starts, but at most `end`. */
static uint64_t
next_start(uint64_t paddr, uint64_t end)
{
	for (unsigned i = 0; i < memory_range_count; i++)
		if (memory_ranges[i].base > paddr && memory_ranges[i].base < end)
			end = memory_ranges[i].base;
	return end;
}

bool
ram_contains(uint64_t paddr, uint64_t bytes)
{
	uint64_t end = paddr + bytes;

	if (end <= paddr || end > frame_count << PAGE_SHIFT)
		return false;
	while (paddr < end) {
		const struct memory_range *r = range_of(paddr);

		if (!r || r->type != MEMORY_RAM)
			return false;
		paddr = next_start(paddr, r->base + r->length);
	}
	return true;
}

/*
 * Reading memory that may not be there, without a fault: for commands that take an address from a
 * person, and for whoever follows pointers in a kernel that has just gone wrong.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
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

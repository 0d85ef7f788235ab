/*
 * What a guest's page tables look like in each paging mode.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/mem/paging.h>

/* SDM 3A 4.2, table 4-2 "Paging Structures in the Different Paging Modes". */
const struct paging_format paging_formats[PAGING_FORMATS] = {
	[PAGING_32] = { .name = "32-bit",
			.id = PAGING_32,
			.levels = 2,
			.entry_size = 4,
			.level = { [1] = { 12, 10, false }, [2] = { 22, 10, false } } },
	[PAGING_32_PSE] = { .name = "32-bit with 4 MiB pages",
			    .id = PAGING_32_PSE,
			    .levels = 2,
			    .entry_size = 4,
			    .level = { [1] = { 12, 10, false }, [2] = { 22, 10, true } } },
	[PAGING_PAE] = { .name = "PAE",
			 .id = PAGING_PAE,
			 .levels = 3,
			 .registers = 3,
			 .entry_size = 8,
			 .level = { [1] = { 12, 9, false },
				    [2] = { 21, 9, true },
				    [3] = { 30, 2, false } } },
	[PAGING_LONG] = { .name = "4-level",
			  .id = PAGING_LONG,
			  .levels = 4,
			  .entry_size = 8,
			  .level = { [1] = { 12, 9, false },
				     [2] = { 21, 9, true },
				     [3] = { 30, 9, true },
				     [4] = { 39, 9, false } } },
};

/* Bits `low` to `high` set. */
static uint64_t
bits(unsigned low, unsigned high)
{
	return low > high ? 0 : (~0ull >> (63 - high)) & ~((1ull << low) - 1);
}

/*
 * SDM 3A 4.3 (table 4-4: a 4 MiB page has bits 39:32 of its address in 20:13, as many as MAXPHYADDR
 * allows, and bit 21 is reserved), 4.4.1 (table 4-8), 4.4.2, 4.5.4.
 */
uint64_t
paging_reserved_some(const struct paging *p, unsigned level, uint64_t entry)
{
	const struct paging_format *g = p->format;
	bool large = level > 1 && paging_maps(p, level, entry);
	unsigned width = p->address_bits < 40 ? p->address_bits : 40;
	uint64_t reserved;

	if (g->entry_size == 4) /* a 4 MiB page */
		return bits(width - 19, 21);
	reserved = bits(p->address_bits, g->id == PAGING_PAE ? 62 : 51);
	if (!p->nx)
		reserved |= PTE_NX;
	if (level == g->registers)
		return reserved | PTE_NX | bits(1, 2) | bits(5, 8);
	if (large)
		reserved |= bits(13, g->level[level].shift - 1);
	else if (level == 4 || (level == 3 && !g->level[3].large))
		reserved |= PTE_PS;
	return reserved;
}

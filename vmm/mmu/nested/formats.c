/*
 * The two formats of nested tables, and what the CPU takes for wrong in an entry.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <stddef.h>

#include <kern/kern.h>
#include <vmm/mmu/nested/nested.h>

#define ADDRESS_BITS     52u
#define SIZE_BITS(level) ((1ul << (PAGE_SHIFT + 9 * ((level)-1))) - 1)

static bool
is_page(pte_t entry, int level)
{
	return level == 1 || (level < 4 && entry & PTE_PS);
}

/* A large page's address has zeros where its own offset is. */
static bool
is_aligned(pte_t entry, int level)
{
	return !(PTE_ADDR(entry) & SIZE_BITS(level));
}

/* APM 2 15.25.5, 5.3.4: as the host's own, and each access is a user's. */
#define NPT_ALL (PTE_P | PTE_W | PTE_U)

static const char *
npt_wrong(pte_t entry, int level)
{
	if (level == 4 && entry & PTE_PS)
		return "bit 7 is set in an entry of the topmost table";
	if (level > 1 && is_page(entry, level) && !is_aligned(entry, level))
		return "a large page's address is not aligned to its size";
	if (!(entry & PTE_U))
		return "it is a supervisor's, and each access by a guest is a user's";
	return NULL;
}

struct nested_format nested_npt = {
	.table = NPT_ALL,
	.page = NPT_ALL,
	.accessed = PTE_A,
	.dirty = PTE_D,
	.largest = 2,
	.wrong = npt_wrong,
};

/* SDM 3C 29.3.2: read, write, execute; a page has its memory type, too. */
#define EPT_R           (1ul << 0)
#define EPT_W           (1ul << 1)
#define EPT_X           (1ul << 2)
#define EPT_MEMORY(e)   ((unsigned)((e) >> 3) & 7)
#define EPT_WRITE_BACK  (6ul << 3)
#define EPT_TABLE_SPARE 0x78ul /* bits 6:3; and 7 in the topmost table */

/* SDM 3C 29.3.3.1 "EPT Misconfigurations". */
static const char *
ept_wrong(pte_t entry, int level)
{
	unsigned memory = EPT_MEMORY(entry);

	if (entry & EPT_W && !(entry & EPT_R))
		return "it allows writes, and no reads";
	if (entry & EPT_X && !(entry & EPT_R))
		return "it allows fetches, and no reads";
	if (!is_page(entry, level))
		return entry & (EPT_TABLE_SPARE | (level == 4 ? PTE_PS : 0))
			       ? "bits are set that an entry of a table must not have"
			       : NULL;
	if (memory == 2 || memory == 3 || memory == 7)
		return "there is no such memory type";
	return is_aligned(entry, level) ? NULL
					: "a large page's address is not aligned to its size";
}

struct nested_format nested_ept = {
	.table = EPT_R | EPT_W | EPT_X,
	.page = EPT_R | EPT_W | EPT_X | EPT_WRITE_BACK,
	.largest = 1,
	.wrong = ept_wrong,
};

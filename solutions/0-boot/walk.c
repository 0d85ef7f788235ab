/*
 * Lab 0B, exercise 0.6: from a virtual address to memory, as the CPU goes.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/probe.h>

/* What a walk finds. */
struct place {
	unsigned level; /* of the entry that it ended at: 4 down to 1 */
	uint64_t physical;
	bool writable, user, executable; /* with CR0.WP and EFER.NXE set, as they are */
};

/* EXERCISE 0.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 0.0 */

/* Walks from the table at the physical address `root`. */
static int
va_walk(uint64_t root, uint64_t va, struct place *place)
{
	/*
	 * EXERCISE 0.6: the walk
	 * Holds: 0 and `place` where the CPU reaches memory; at a hole -ENOENT and the entry's
	 *  level; -EFAULT and the level of a table that is not RAM; -EINVAL for what no pointer
	 *  has.
	 * Beware: tables are anybody's, and broken. Three sizes of pages; what one level forbids
	 *  no other allows. MAXPHYADDR is 52; reserved bits count as 0.
	 * Manual: SDM 3A "4-Level Paging and 5-Level Paging", "Access Rights"; SDM 1 "Canonical
	 *  Addressing".
	 * Tools: hpa(), hpa_ptr(), page_entry(), PTE_ADDR(), PTE_NX, PTE_P, PTE_PS, PTE_U,
	 *  PTE_W, ram_contains()
	 * Hint: of which bits of the address does each level make use, and which are left when
	 *  the walk ends early?
	 * Hint: begin with tables of two levels and pages of one size, on paper; then ask at
	 *  each entry: hole, page, or table? Only the last one goes on.
	 * Hint: a walk of the 32-bit tables of two levels: index va >> 22, an entry of 4
	 *  bytes; with bit 7 it is a page of 4 MiB, whose own address is the entry's bits
	 *  31:22 (below lie other things), and bits 21:0 of va lie in it. Else index va >> 12
	 *  & 1023 in the next table. A right is there if both entries have it.
	 * until then: (void)root, (void)va; return -ENOSYS;
	 */
	uint64_t table = root, entry, in_page;

	*place = (struct place){ .level = 4, .writable = true, .user = true, .executable = true };
	if ((uint64_t)((int64_t)(va << 16) >> 16) != va)
		return -EINVAL;
	for (;; place->level--) {
		unsigned shift = 12 + 9 * (place->level - 1);

		if (!ram_contains(table, PAGE_SIZE))
			return -EFAULT;
		entry = ((const uint64_t *)hpa_ptr(hpa(table)))[va >> shift & 511];
		if (!(entry & PTE_P))
			return -ENOENT;
		place->writable &= !!(entry & PTE_W);
		place->user &= !!(entry & PTE_U);
		place->executable &= !(entry & PTE_NX);
		in_page = (1ul << shift) - 1;
		table = PTE_ADDR(entry);
		if (place->level == 1 || (place->level < 4 && (entry & PTE_PS)))
			break;
	}
	place->physical = (table & ~in_page) | (va & in_page);
	return 0;
	/* END EXERCISE 0.6 */
}

/* `va ADDRESS` in the tables that are in use, or in those at the physical address ROOT. */
static int
command_va(int argc, char **argv)
{
	static const char *const sizes[] = { "", "4 KiB", "2 MiB", "1 GiB" };
	uint64_t va, root = PTE_ADDR(read_cr3());
	struct place place = { .level = 0 };
	int error;

	if (argc < 2 || argc > 3 || parse_u64(argv[1], &va))
		return -EINVAL;
	if (argc == 3 && (parse_u64(argv[2], &root) || (root & PAGE_MASK)))
		return -EINVAL;
	error = va_walk(root, va, &place);
	if (error == -ENOENT)
		printf("%016lx: a hole, in a table of level %u\n", va, place.level);
	else if (error == -EFAULT)
		printf("%016lx: the table of level %u is not in RAM\n", va, place.level);
	else if (error == -EINVAL)
		printf("%016lx: not canonical\n", va);
	if (error)
		return error == -ENOENT ? 0 : error;
	printf("%016lx: physical %016lx in a page of %s, %s %s %s\n", va, place.physical,
	       place.level < ARRAY_LEN(sizes) ? sizes[place.level] : "?",
	       place.writable ? "W" : "R", place.user ? "U" : "S", place.executable ? "X" : "NX");
	return 0;
}
MONITOR_COMMAND(command_va, "va", "ADDRESS [ROOT]", "a virtual address's way to memory");

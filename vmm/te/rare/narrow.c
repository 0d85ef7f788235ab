/*
 * Entering a guest whose stack has 16 bits.
 *
 * An iret to such a stack loads SP alone, and leaves bits 31:16 of ESP what they were: the host's
 * (SDM 2A "IRET"; Linux calls its answer espfix). So the iretq runs on a stack whose own address
 * has the guest's bits there. Two pages are mapped once in each 64 KiB of 4 GiB of the host's
 * scratch slot: one table of pages, and one directory, whose entries all lead to it.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <vmm/te/rare/rare.h>

#define STRIDE      0x10000u
#define STACK_PAGES 2u
#define STACK_AT    1u /* the page in each 64 KiB; the one before it is a guard */
#define ENTRIES     512u

static pte_t *
table(void)
{
	pte_t *page = host_page();

	ASSERT(page); /* the host starts: all memory is free */
	return page;
}

static pte_t
leads_to(const void *page, pte_t flags)
{
	return mfn_to_hpa(ptr_mfn(page)).v | PTE_P | PTE_W | PTE_A | flags;
}

static void
narrow_init(void)
{
	pte_t *top = mfn_ptr(mfn(PTE_ADDR(*root_slot(host_root, 258)) >> PAGE_SHIFT));
	pte_t *pages = table(), *directory = table();

	for (unsigned n = 0; n < STACK_PAGES; n++) {
		pte_t page = leads_to(table(), PTE_D | PTE_NX);

		for (unsigned i = STACK_AT + n; i < ENTRIES; i += STRIDE / PAGE_SIZE)
			pages[i] = page;
	}
	for (unsigned i = 0; i < ENTRIES; i++)
		directory[i] = leads_to(pages, 0);
	for (unsigned i = 0; i < 4; i++)
		top[i] = leads_to(directory, 0);
}
INITCALL(60, narrow_init);

/* Its end, where pushes begin, for a guest with this ESP. */
uint64_t
te_narrow_stack(uint64_t esp)
{
	return SCRATCH_BASE | (esp & 0xffff0000) | (STACK_AT + STACK_PAGES) * PAGE_SIZE;
}

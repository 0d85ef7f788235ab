/*
 * How a Linux kernel is entered: registers, descriptors, and for one of 64 bits page tables (BOOT,
 * see linux.h).
 */
#include <inc/errno.h>
#include <vmm/load/linux.h>
#include <vmm/load/load.h>
#include <vmm/mem/p2m.h>

#define BOOT_CS     0x10 /* BOOT "32-bit Boot Protocol": __BOOT_CS and __BOOT_DS */
#define BOOT_DS     0x18
#define FLAT_CODE   0x00cf9b000000ffffull
#define FLAT_CODE64 0x00af9b000000ffffull
#define FLAT_DATA   0x00cf93000000ffffull

#define ENTRIES     512u
#define DIRECTORIES 4u /* the low 4 GiB, in pages of 2 MiB */

/*
 * The frame at LINUX_TABLES + n pages: a table of page tables, whole. NULL: the guest has none
 * there.
 */
static uint64_t *
table_at(struct domain *d, unsigned n)
{
	size_t len = PAGE_SIZE;

	return gpa_ptr(d, gpa(LINUX_TABLES + n * PAGE_SIZE), &len);
}

/*
 * The top, the table below it, and the directories: the guest's linear addresses are its physical
 * ones.
 */
static int
write_tables(struct domain *d)
{
	const uint64_t flags = PTE_P | PTE_W;
	uint64_t *top = table_at(d, 0), *second = table_at(d, 1);

	if (!top || !second)
		return -EFAULT;
	memset(top, 0, PAGE_SIZE);
	memset(second, 0, PAGE_SIZE);
	top[0] = (LINUX_TABLES + PAGE_SIZE) | flags;
	for (uint64_t i = 0; i < DIRECTORIES; i++) {
		uint64_t *directory = table_at(d, 2 + (unsigned)i);

		if (!directory)
			return -EFAULT;
		second[i] = (LINUX_TABLES + (2 + i) * PAGE_SIZE) | flags;
		for (uint64_t n = 0; n < ENTRIES; n++)
			directory[n] = (i * ENTRIES + n) << 21 | flags | PTE_PS;
	}
	return 0;
}

int
linux_write_entry(struct domain *d, bool is_64)
{
	const uint64_t gdt[] = { 0, 0, is_64 ? FLAT_CODE64 : FLAT_CODE, FLAT_DATA };
	int err = gpa_write(d, gpa(LINUX_GDT), gdt, sizeof(gdt));

	return err || !is_64 ? err : write_tables(d);
}

/*
 * BOOT "32-bit Boot Protocol": protected mode, paging off, interrupts off, flat segments from a
 * GDT, ESI the zero page, EBP, EDI and EBX zero. "64-bit Boot Protocol": the same in 64-bit mode,
 * with paging on and each address mapped to itself.
 */
void
linux_registers(struct cpu_state *s, bool is_64)
{
	start_registers(s, BOOT_CS, BOOT_DS);
	s->gdtr = (struct table_reg){ .base = LINUX_GDT, .limit = 4 * 8 - 1 };
	s->gpr[RSI] = LINUX_ZERO_PAGE;
	s->rip = LINUX_LOAD;
	if (!is_64)
		return;
	s->rip += LINUX_ENTRY_64;
	s->cr0 |= CR0_PG;
	s->cr3 = LINUX_TABLES;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
	s->seg[SEG_CS].attr = (s->seg[SEG_CS].attr & ~ATTR_DB) | ATTR_L;
}

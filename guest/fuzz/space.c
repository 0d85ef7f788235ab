/*
 * The fuzzer guest's page tables and descriptors: those that it stands on, and those that are
 * edited.
 */
#include "fuzz.h"

#define CR0_PG     0x80000000u
#define CR0_WP     0x10000u
#define CR4_PSE    0x10u
#define CR4_PAE    0x20u
#define CR4_OSFXSR 0x200u

#define KERNEL 0u /* the address spaces */
#define ROUNDS 1u

int pae;

static void
set(uint32_t at, uint64_t entry)
{
	if (pae) {
		((volatile uint32_t *)at)[1] = entry >> 32;
		((volatile uint32_t *)at)[0] = entry;
	} else {
		*(volatile uint32_t *)at = entry;
	}
}

static uint32_t
pde_of(unsigned space, uint32_t va)
{
	return PD + space * 0x4000 +
	       (pae ? (va >> 30) * 4096 + (va >> 21 & 511) * 8 : (va >> 22) * 4);
}

/* The low 4 MiB, where only the play area and what nobody needs can be written. */
static uint32_t
low_rights(uint32_t page)
{
	if (page == TRAP_STACK || (page >= TABLES && page < PLAY_END) ||
	    (page >= PD + ROUNDS * 0x4000 && page < PD + (ROUNDS + 1) * 0x4000))
		return P | W;
	return page < CODE || (page >= PDPT && page < TABLES_END) ? P : P | W | U;
}

static uint32_t
page_entry(void)
{
	static const uint32_t frames[] = { PLAY,   PLAY + 0x1000, PLAY + 0x2000, CODE,      GDT,
					   TABLES, STACK,         0xa0000,       0x00fff000 };
	uint32_t flags = below(3) ? P | W | U : below(8);

	return frames[below(sizeof(frames) / sizeof(frames[0]))] | flags | below(4) * A |
	       (below(8) ? 0 : next() & 0xfff);
}

static uint32_t
directory_entry(void)
{
	uint32_t flags = below(4) ? P | W | U : below(8);

	if (!below(6))
		return (below(16) ? 0x00c00000 : 0) | PS | flags | below(4) * A;
	return TABLES | below(2) * 0x1000 | flags | below(2) * A | (below(16) ? 0 : next());
}

void
edit_tables(unsigned times)
{
	for (; times; times--) {
		uint32_t size = pae ? 8 : 4;

		if (!below(4))
			set(pde_of(ROUNDS, TEST) + below(2) * size, directory_entry());
		else
			set(TABLES + below(2) * 0x1000 + below(8) * size, page_entry());
	}
}

/* A descriptor of any kind, half of them plain ones. */
static uint64_t
descriptor(void)
{
	uint64_t d = (uint64_t)next() << 32 | next();

	if (below(2))
		return 0x00cf93000000ffffull ^ (uint64_t)(below(4) << 3) << 40 ^
		       (uint64_t)(below(4) << 5) << 40 ^ (below(4) ? 0 : 1ull << (32 + below(24)));
	if (below(4))
		d &= ~0xff00ffff00000000ull | (uint64_t)(next() & 0xff) << 40; /* base 0 */
	return d | (below(4) ? 1ull << 47 : 0);
}

void
edit_descriptors(unsigned times)
{
	for (; times; times--) {
		volatile uint64_t *table = (volatile uint64_t *)(below(4) ? GDT : LDT);
		unsigned i = table == (volatile uint64_t *)LDT
				     ? below(8)
				     : PLAY_SEL / 8 + below(SELS - PLAY_SEL / 8);

		table[i] = descriptor();
	}
}

/* In the table that is edited, too, the handlers find theirs. */
void
good_descriptors(void)
{
	memcpy((void *)GDT, kernel_gdt, PLAY_SEL);
}

uint32_t
cr3_of(unsigned space)
{
	return pae ? PDPT + space * 4096 : PD + space * 0x4000;
}

static void
make_space(unsigned space)
{
	uint32_t size = pae ? 8 : 4, data = DATA_TABLES + space * 0x1000;

	for (uint32_t i = 0; pae && i < 4; i++)
		set(PDPT + space * 4096 + i * 8, (PD + space * 0x4000 + i * 4096) | P);
	set(pde_of(space, 0), LOW_TABLES | P | W | U);
	if (pae)
		set(pde_of(space, 0x200000), (LOW_TABLES + 0x1000) | P | W | U);
	set(pde_of(space, DATA), data | P | W | U);
	for (uint32_t at = 0; at < RAM_END - DATA; at += 4096)
		set(data + at / 4096 * size, (DATA + at) | (space == ROUNDS ? P : P | W));
}

/* Paging is off when this is called, and on afterwards. */
void
make_spaces(int edited)
{
	uint32_t cr4 = CR4_PSE | CR4_OSFXSR | (pae ? CR4_PAE : 0), cr0 = CR0_PG | CR0_WP;

	memset((void *)TABLES, 0, TABLES_END - TABLES);
	for (uint32_t at = 0; at < DATA; at += 4096)
		set(LOW_TABLES + at / 4096 * (pae ? 8 : 4), at | low_rights(at));
	make_space(KERNEL);
	make_space(ROUNDS);
	if (edited)
		edit_tables(40);
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4));
	__asm__ volatile("mov %0, %%cr3" : : "r"(cr3_of(KERNEL)));
	__asm__ volatile("mov %%cr0, %%eax; or %0, %%eax; mov %%eax, %%cr0" : : "r"(cr0) : "eax");
}

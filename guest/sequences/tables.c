/*
 * The guest's page tables and descriptors, and its interrupts' gates.
 */
#include "sequences.h"

#define P  1u
#define W  2u
#define U  4u
#define AD 0x60u

#define CR0_USUAL 0x80010033u
#define CR4_USUAL 0x210u
#define FLAT      0x00cf00000000ffffull
#define INT32     0x8eu

uint32_t directories[2][1024] __attribute__((aligned(4096)));
static uint32_t page_tables[2][1024] __attribute__((aligned(4096)));
static uint32_t tss[2][26];

static uint64_t
descriptor(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
	       (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
	       (uint64_t)(base >> 24) << 56;
}

static uint64_t
flat(uint32_t access)
{
	return FLAT | (uint64_t)access << 40;
}

static uint64_t
gate(uint32_t selector, uint32_t offset, uint32_t access)
{
	return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)access << 40 |
	       (uint64_t)(offset >> 16) << 48;
}

/* Two directories that say the same; 8 MiB, all for ring 3 as well. */
void
paging_on(void)
{
	for (uint32_t i = 0; i < 2048; i++)
		page_tables[i / 1024][i % 1024] = i << 12 | P | W | U | AD;
	page_tables[0][READ_ONLY >> 12] &= ~W;
	for (unsigned i = 0; i < 4; i++)
		directories[i / 2][i % 2] = (uint32_t)page_tables[i % 2] | P | W | U | AD;
	__asm__ volatile("mov %0, %%cr4" : : "r"(CR4_USUAL));
	__asm__ volatile("mov %0, %%cr3" : : "r"(directories[0]));
	__asm__ volatile("mov %0, %%cr0" : : "r"(CR0_USUAL));
}

/* What is there already is not written again: each write to a table in use is an exit. */
static void
put_entry(uint32_t table, uint32_t sel, uint64_t desc)
{
	volatile uint64_t *entry = (volatile uint64_t *)(table + (sel & ~7u));

	if (*entry != desc)
		*entry = desc;
}

/* A is set everywhere: te and bt don't mark a table that they keep a shadow of. */
static void
fill_gdt(uint32_t gdt)
{
	put_entry(gdt, KCODE, flat(0x9b));
	put_entry(gdt, KDATA, flat(0x93));
	put_entry(gdt, UCODE, flat(0xfb));
	put_entry(gdt, UDATA, flat(0xf3));
	put_entry(gdt, TSS_SEL, descriptor((uint32_t)tss[0], sizeof(tss[0]) - 1, 0x89, 0));
	put_entry(gdt, LDT_SEL, descriptor(LDT, 63, 0x82, 0));
	put_entry(gdt, CODE16, descriptor(0, 0xffff, 0x9b, 0));
	put_entry(gdt, CONFORMING, flat(0x9f));
	put_entry(gdt, TSS2_SEL, descriptor((uint32_t)tss[1], sizeof(tss[1]) - 1, 0x89, 0));
	put_entry(gdt, DATA16, descriptor(0, 0xffff, 0x93, 0));
	put_entry(gdt, READ_SEL, flat(0x91));
	put_entry(gdt, EXECUTE, flat(0x99));
	put_entry(gdt, DOWN16, descriptor(0, 0x1fff, 0x97, 0));
	put_entry(gdt, GONE_DATA, flat(0x13));
	put_entry(gdt, GONE_CODE, flat(0x1b));
	put_entry(gdt, GONE_LDT, descriptor(LDT, 63, 0x02, 0));
	put_entry(gdt, LDT2_SEL, descriptor(LDT, 15, 0x82, 0));
	put_entry(gdt, GONE_TSS, descriptor((uint32_t)tss[1], sizeof(tss[1]) - 1, 0x09, 0));
	put_entry(gdt, BASED, descriptor(PLAY, 0xfff, 0x93, 4));
}

static void
fill_ldt(uint32_t ldt)
{
	put_entry(ldt, 0 * 8, flat(0x93));
	put_entry(ldt, 1 * 8, descriptor(0, 0xffff, 0x93, 0));
	put_entry(ldt, 2 * 8, flat(0xf3));
	put_entry(ldt, 3 * 8, descriptor(PLAY, 0x7ff, 0x93, 4));
	put_entry(ldt, 4 * 8, flat(0x13));
}

/* int 30 to 37. */
static void
fill_gates(uint64_t *table)
{
	table[VEC_GATES] = gate(KCODE, RETURN_IRET, INT32);
	table[VEC_GATES + 1] = gate(KCODE, RETURN_IRET, 0x8f); /* a trap gate */
	table[VEC_GATES + 2] = gate(KCODE, RETURN_IRET, 0x0e); /* not there */
	table[VEC_GATES + 3] = gate(KCODE, RETURN_IRET, 0xef); /* for ring 3, too */
	table[VEC_GATES + 4] = gate(0, RETURN_IRET, INT32);
	table[VEC_GATES + 5] = gate(KDATA, RETURN_IRET, INT32);
	table[VEC_GATES + 6] = gate(CONFORMING, RETURN_IRET, 0xee);
	table[VEC_GATES + 7] = gate(CODE16, RETURN_IRET16, 0x86); /* a 286's */
}

void
tables_init(void)
{
	volatile uint8_t *code = (volatile uint8_t *)RETURNS;

	for (unsigned i = 0; i < 256; i++)
		idt[i] = gate(KCODE, stubs[i], INT32);
	idt[3] = gate(KCODE, stubs[3], 0xee);
	fill_gates(idt);
	code[RETURN_IRET - RETURNS] = 0xcf;
	code[RETURN_FAR - RETURNS] = 0xcb;
	code[RETURN_FAR16 - RETURNS] = 0x66;
	code[RETURN_FAR16 - RETURNS + 1] = 0xcb;
	code[RETURN_IRET16 - RETURNS] = 0xcf;
	memcpy(idt2, idt, sizeof(idt));
	for (unsigned i = 0; i < 2; i++) {
		tss[i][1] = TRAP_STACK + 0xff0;
		tss[i][2] = KDATA;
		tss[i][25] = sizeof(tss[i]) << 16; /* no ports for ring 3 */
	}
}

/* As before the first sequence. */
void
tables_fresh(void)
{
	const struct table gdtr = { SELS * 8 - 1, GDT, 0 };
	const struct table idtr = { sizeof(idt) - 1, (uint32_t)idt, 0 };

	fill_gdt(GDT);
	fill_gdt(GDT2);
	fill_ldt(LDT);
	state_init(&gdtr, &idtr);
}

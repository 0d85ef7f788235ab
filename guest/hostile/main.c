/*
 * A guest that attacks its hypervisor: `attack=NAME` on its command line says how.
 *
 * Each attack must be contained: the guest is stopped with one clear line, or nothing happens that
 * the bare machine would not do. An attack that goes through says "NAME: went through" and exits
 * with 1; one that has no effect says "NAME: no effect" and exits with 0.
 */
#include <guest/lib/guest.h>

#include "attacks.h"

#define MEM_UPPER 2 /* in multiboot's information: KiB from 1 MiB on */
#define PAGE      4096
#define ENTRIES   16

/* In a page of its own: beside a GDT that nobody writes an engine takes its fast ways. */
static uint64_t gdt[PAGE / 8] __attribute__((aligned(PAGE)));
static uint64_t ldt[4] __attribute__((aligned(16)));
static uint32_t tss[26];
uint64_t *const gdt_alias = gdt; /* for those that edit it while it is in use */
uint32_t ram_end;

static uint64_t
descriptor(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
	       (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
	       (uint64_t)(base >> 24) << 56;
}

static uint64_t
gate(uint32_t selector, uint32_t offset, uint32_t access)
{
	return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)access << 40 |
	       (uint64_t)(offset >> 16) << 48;
}

/* The table that the attacks share; selectors are in attacks.inc. */
static void
tables(void)
{
	gdt[1] = descriptor(0, 0xfffff, 0x9b, 0xc);
	gdt[2] = descriptor(0, 0xfffff, 0x93, 0xc);
	gdt[3] = descriptor(0, 0xfffff, 0x9b, 0xa); /* code, L=1 D=0 */
	gdt[4] = gate(0xe008, 0x100000, 0xec); /* call gate to the host's code segment, DPL 3 */
	gdt[5] = descriptor((uint32_t)tss, sizeof(tss) - 1, 0x89, 0); /* TSS */
	gdt[6] = gate(0x28, 0, 0xe5);                                 /* task gate to it */
	gdt[7] = descriptor((uint32_t)ldt, sizeof(ldt) - 1, 0x82, 0);
	gdt[8] = descriptor(0, 0xfffff, 0xfb, 0xc);           /* code of ring 3 */
	gdt[9] = descriptor(0, 0xfffff, 0xf3, 0xc);           /* data of ring 3 */
	gdt[10] = descriptor(0xffbff000, 0xfffff, 0x93, 0xc); /* starts below the window, wraps */
	gdt[11] = descriptor(0, 0xfffff, 0x9f, 0xc);          /* conforming code */
	gdt[12] = descriptor(0, 0, 0x97, 0xc); /* expand-down data: all but its first page */
	gdt[13] = descriptor(0xffc00000, 0x3ff, 0x93, 0xc); /* starts in the window */
	gdt[14] = descriptor(0, 0xffff, 0x93, 0);           /* a stack of 16 bits */
	ldt[0] = gdt[3];
	ldt[1] = gate(0xe008, 0x100000, 0xec);
	load_gdt(gdt, ENTRIES * sizeof(gdt[0]) - 1);
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	const char *name = option(info, "attack");
	const struct attack *a;
	uint32_t through;

	(void)magic;
	console_init();
	ram_end = 0x100000 + info[MEM_UPPER] * 1024;
	for (a = attacks; a->name; a++)
		if (option_is(name, a->name))
			break;
	if (!a->name) {
		print("hostile: no such attack; there are:");
		for (a = attacks; a->name; a++) {
			put(' ');
			print(a->name);
		}
		put('\n');
		return 2;
	}
	if (a->wants_tables)
		tables();
	print(a->name);
	print(": begins\n");
	through = a->run();
	print(a->name);
	print(through ? ": went through\n" : ": no effect\n");
	return through;
}

/*
 * A guest that does, in ring 3 and in ring 0, what a CPU answers with a fault, and some things that
 * only a hypervisor finds hard (asm.asm). It prints what came of each: no program's mishap may end
 * its kernel. hard=0 is for engines of the CPU's own.
 */
#include <guest/lib/guest.h>

#define KERNEL_CS 0x08
#define DONE      0x40
#define VEC_PF    14
#define USER      1
#define KERNEL    2
#define LIMIT     4
#define HARD      8

#define PAGE_TABLES 2 /* 8 MiB, linear is physical */
#define HOLE        0x40000000u
#define SPARE       0x40400000u
#define RIGHTS      7u /* P, W, U */

struct mishap {
	const char *name;
	uint32_t start, rings;
};

struct table {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

extern const struct mishap mishaps[];
extern const uint32_t stubs[256];
extern struct {
	uint32_t vector, error, eip, cr2;
} result;
void run(uint32_t start, uint32_t user);
void load_tables(const struct table *gdtr, const struct table *idtr, uint32_t directory);

uint32_t page_tables[PAGE_TABLES][1024] __attribute__((aligned(4096)));
uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t hole_table[1024] __attribute__((aligned(4096)));
uint32_t spare_tables[2][1024] __attribute__((aligned(4096)));
static uint64_t gdt[16], idt[256];
static uint32_t tss[26];
static uint8_t kernel_stack[4096] __attribute__((aligned(16)));

static uint64_t
descriptor(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
	       (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
	       (uint64_t)(base >> 24) << 56;
}

static uint64_t
gate(uint32_t offset, uint32_t access)
{
	return (offset & 0xffff) | (uint64_t)KERNEL_CS << 16 | (uint64_t)access << 40 |
	       (uint64_t)(offset >> 16) << 48;
}

/* Selectors: asm.asm. */
static void
tables(void)
{
	const struct table gdtr = { sizeof(gdt) - 1, (uint32_t)gdt };
	const struct table idtr = { sizeof(idt) - 1, (uint32_t)idt };

	gdt[1] = descriptor(0, 0xfffff, 0x9b, 0xc);
	gdt[2] = descriptor(0, 0xfffff, 0x93, 0xc);
	gdt[3] = descriptor(0, 0xfffff, 0xfb, 0xc);
	gdt[4] = descriptor(0, 0xfffff, 0xf3, 0xc);
	gdt[5] = descriptor((uint32_t)tss, sizeof(tss) - 1, 0x89, 0);
	gdt[6] = descriptor(0, 0xfffff, 0x7b, 0xc);
	gdt[7] = gate(stubs[0], 0x8c);
	gdt[8] = descriptor(0, 0, 0xfb, 0xc);
	tss[1] = (uint32_t)(kernel_stack + sizeof(kernel_stack));
	tss[2] = 0x10;
	tss[25] = sizeof(tss) << 16;
	for (unsigned i = 0; i < 256; i++)
		idt[i] = gate(stubs[i], i == DONE ? 0xee : 0x8e);
	for (unsigned i = 0; i < PAGE_TABLES * 1024 - 1; i++)
		page_tables[i / 1024][i % 1024] = i << 12 | RIGHTS;
	for (unsigned i = 0; i < PAGE_TABLES; i++)
		directory[i] = (uint32_t)page_tables[i] | RIGHTS;
	hole_table[0] = HOLE | RIGHTS;
	directory[HOLE >> 22] = (uint32_t)hole_table | RIGHTS;
	for (unsigned i = 0; i < 2; i++) {
		spare_tables[i][i * 512] = (uint32_t)hole_table | RIGHTS;
		directory[(SPARE >> 22) + i] = (uint32_t)spare_tables[i] | RIGHTS;
	}
	load_tables(&gdtr, &idtr, (uint32_t)directory);
}

static uint32_t limits = LIMIT; /* what is not compared: with hard=0 HARD, too */

static void
tell(const struct mishap *m, uint32_t user)
{
	print(m->rings & limits ? "~ " : "");
	print(m->name);
	print(user ? " in ring 3: " : " in ring 0: ");
	if (result.vector == DONE) {
		print("goes on\n");
		return;
	}
	print("vector ");
	print_hex(result.vector);
	print(" error ");
	print_hex(result.error);
	print(" at ");
	print_hex(result.eip - m->start);
	if (result.vector == VEC_PF) {
		print(" address ");
		print_hex(result.cr2);
	}
	put('\n');
}

uint32_t
guest_main(uint32_t magic, const uint32_t *info)
{
	const char *word = option(info, "hard");

	(void)magic;
	if (word && option_is(word, "0"))
		limits |= HARD;
	console_init();
	tables();
	for (const struct mishap *m = mishaps; m->name; m++)
		for (uint32_t user = 2; user--;)
			if (m->rings & (user ? USER : KERNEL) &&
			    (user || !(m->rings & limits & HARD))) {
				run(m->start, user);
				tell(m, user);
			}
	print("that is all\n");
	return 0;
}

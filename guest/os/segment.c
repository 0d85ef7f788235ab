/* The GDT, the IDT and the one TSS, whose only use is the stack for traps from ring 3. */
#include <guest/os/os.h>

#define GATE_INTERRUPT 0x8e /* interrupts off */
#define GATE_SYSCALL   0xef /* a trap gate, open to ring 3: interrupts stay on */
#define TSS_SELECTOR   0x28

struct table {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

/* SDM 3A figure 8-2, the 32-bit TSS. */
struct tss {
	uint32_t link, esp0, ss0, rest[22];
	uint16_t trap, io_map;
};
_Static_assert(sizeof(struct tss) == 104, "SDM 3A figure 8-2");

static uint64_t gdt[512] __attribute__((aligned(4096))); /* a page of its own: Zeno traces it */
static uint64_t idt[SYSCALL_INT + 1];
static struct tss tss;

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

void
segment_kernel_stack(uint32_t esp)
{
	tss.esp0 = esp;
}

void
segment_init(void)
{
	struct table gdtr = { 6 * sizeof(gdt[0]) - 1, (uint32_t)gdt };
	struct table idtr = { sizeof(idt) - 1, (uint32_t)idt };

	gdt[1] = descriptor(0, 0xfffff, 0x9b, 0xc);
	gdt[2] = descriptor(0, 0xfffff, 0x93, 0xc);
	gdt[3] = descriptor(0, 0xfffff, 0xfb, 0xc);
	gdt[4] = descriptor(0, 0xfffff, 0xf3, 0xc);
	gdt[5] = descriptor((uint32_t)&tss, sizeof(tss) - 1, 0x89, 0);
	tss.ss0 = KERNEL_DS;
	tss.io_map = sizeof(tss); /* beyond the limit: ring 3 has no ports */
	for (unsigned i = 0; i < sizeof(stubs) / sizeof(stubs[0]); i++)
		idt[i] = gate(stubs[i], GATE_INTERRUPT);
	idt[SYSCALL_INT] = gate((uint32_t)stub_syscall, GATE_SYSCALL);
	load_tables(&gdtr, &idtr, TSS_SELECTOR);
}

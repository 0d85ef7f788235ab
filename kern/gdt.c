/*
 * The host's descriptors: page 14 of the GDT window, the TSS and its stacks.
 *
 * The CPU reads the GDT through the window (slot 260), so a vCPU's root can show its own pages 0-13
 * there, and the host's selectors start at 0xe000, above all of the guest's.
 *
 * The ring-3 selectors (0xe023, 0xe02b, 0xe033) stay not present until a ring-3 user runs on a host
 * that has no ring-1 guest loaded: a guest of te could `iret` from ring 1 to a DPL-3 code segment,
 * 64-bit or untruncated, which no trap would tell us; and it could load a flat DPL-3 data segment
 * at once, since CPL 1 <= DPL 3, and reach past the limits that keep it from the VMM window. 0xe008
 * and 0xe010 are out of its reach: DPL 0 < CPL 1.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <kern/cpu.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/traps.h>

/* SDM 3A 3.4.5, figure 3-8. Accessed is set from the start; base and limit mean nothing. */
#define DESC_CODE64    0x00209b0000000000ul /* P, DPL 0, code, readable, accessed; L */
#define DESC_DATA      0x00cf93000000fffful /* P, DPL 0, data, writable, accessed */
#define DESC_TSS       0x9ul                /* 64-bit TSS, available: SDM 3A table 3-2 */
#define DESC_LDT       0x2ul
#define DESC_P         0x80ul
#define IST_PAGES      4
#define RSP0_PAGES     4
#define GDT_AT(sel)    ((volatile uint64_t *)(GDT_WINDOW + (sel)))
#define LIMIT_NO_IOMAP sizeof(struct tss)

/* SDM 3A 8.7, figure 8-11 */
struct tss {
	uint32_t reserved0; /*   0 */
	uint64_t rsp[3];    /*   4 */
	uint64_t reserved1; /*  28 */
	uint64_t ist[7];    /*  36: IST1 is ist[0] */
	uint64_t reserved2; /*  92 */
	uint16_t reserved3; /* 100 */
	uint16_t iomap;     /* 102 */
} __attribute__((packed));
_Static_assert(offsetof(struct tss, ist) == 36, "SDM 3A figure 8-11");
_Static_assert(offsetof(struct tss, iomap) == 102, "SDM 3A figure 8-11");
_Static_assert(sizeof(struct tss) == 104, "SDM 3A figure 8-11");

/* The CPU reads it by linear address on every trap from a guest; all in one page. */
static struct tss tss __attribute__((aligned(128)));
uint64_t tss_rsp0; /* the same as in the TSS, aligned, for trap.asm */

/* A 16-byte system descriptor, SDM 3A 3.5.2 and figure 8-4. */
static void
set_system(unsigned selector, uint64_t type, uint64_t base, uint32_t limit)
{
	GDT_AT(selector)[1] = base >> 32;
	GDT_AT(selector)
	[0] = (limit & 0xffff) | (base & 0xffffff) << 16 | (type ? type | DESC_P : 0) << 40 |
	      (uint64_t)(limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56;
}

void
tss_set_rsp0(uint64_t rsp0)
{
	ASSERT(!(rsp0 & 15));
	tss.rsp[0] = tss_rsp0 = rsp0;
}

void
gdt_set_ldt(uint64_t base, uint32_t limit)
{
	if (limit)
		set_system(HOST_LDT, DESC_LDT, base, limit);
	else
		set_system(HOST_LDT, 0, 0, 0);
	__asm__ volatile("lldt %w0" : : "r"(limit ? HOST_LDT : 0) : "memory");
}

static void
load_gdt(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdtr = { GDT_LIMIT, GDT_WINDOW };

	__asm__ volatile("lgdt %0" : : "m"(gdtr) : "memory");
	/* SS is null, as the CPU leaves it after each trap from an outer ring (SDM 3A 6.14.4):
	 * so it is always the same. */
	__asm__ volatile("mov %w0, %%ds; mov %w0, %%es; mov %w0, %%fs; mov %w0, %%gs; mov %w0, %%ss"
			 :
			 : "r"(0));
	__asm__ volatile("pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:"
			 :
			 : "i"(HOST_CS64)
			 : "rax", "memory");
}

void
gdt_init(void)
{
	static const char *const names[] = { "NMI", "#DB", "#DF", "#MC" }; /* enum ist */

	*GDT_AT(HOST_CS64) = DESC_CODE64;
	*GDT_AT(HOST_DS) = DESC_DATA;
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		tss.ist[i] = stack_alloc(IST_PAGES, names[i]);
	/* Until something runs in an outer ring a trap from there is a bug, and must get this far
	 * to say so. */
	tss_set_rsp0(stack_alloc(RSP0_PAGES, "traps from outer rings"));
	/* Beyond the limit, so no port is allowed to CPL > IOPL: SDM 1 19.5.2. */
	tss.iomap = LIMIT_NO_IOMAP;
	set_system(HOST_TSS, DESC_TSS, (uint64_t)&tss, sizeof(tss) - 1);
	load_gdt();
	gdt_set_ldt(0, 0);
	__asm__ volatile("ltr %w0" : : "r"(HOST_TSS) : "memory");
}

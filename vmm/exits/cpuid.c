/*
 * What a guest's CPUID says: of what the CPU says, that which a vCPU has, and zeros for all else.
 * Behind many a bit stands an MSR or a bit of CR4 that no vCPU has, and a kernel that believes the
 * bit takes #GP there, perhaps before it has a handler: Linux reads MSR_AMD64_SEV as one of its
 * first deeds where leaf 8000001f names SEV. So the list is one of what there is; what a CPU of
 * tomorrow may say is not shown.
 */
#include <kern/cpu.h>
#include <vmm/dev/platform.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/vcpu.h>

#define CPUID1_C_OSXSAVE (1u << 27) /* follows the guest's CR4 */

#define ANY ~0u /* the leaf has no sub-leaves, or all are alike */

/*
 * What there is (SDM 2A "CPUID", table 3-8; APM 3 appendix E). Not there: a local APIC, which a
 * platform adds, and what counts, measures, saves power or wakes with it; cores beside this one;
 * machine checks, memory type ranges, debug stores, virtual machines, enclaves; INVPCID; what
 * SPEC_CTRL and its like are for; state that XCR0 can't have (exit_xsetbv), and EFER (TCE, FFXSR).
 */
static const struct {
	uint32_t leaf, sub, bits[4]; /* of EAX, EBX, ECX, EDX */
} shown[] = {
	{ 0, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 1, ANY, { ~0u, ~0u, 0x76d83203, 0x0f9bad7f } },
	{ 2, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 4, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 7, 0, { 0, 0x219c23e9, 0x1a41070c, 0x00004410 } },
	{ 0xb, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 0xd, 0, { 7, ~0u, ~0u, 0 } }, /* x87, SSE, AVX */
	{ 0xd, 1, { 7, ~0u, 0, 0 } },   /* XSAVEOPT, XSAVEC, XGETBV; no XSAVES */
	{ 0xd, 2, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x15, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x16, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x80000000, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x80000001, ANY, { ~0u, ~0u, 0x002109f1, 0xfdf7ad7f } },
	{ 0x80000002, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x80000003, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x80000004, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x80000005, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x80000006, ANY, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x80000007, ANY, { 0, 0, 0, 1u << 8 } }, /* the TSC keeps its pace */
	{ 0x80000008, ANY, { ~0u, 5, 0, 0 } },     /* CLZERO; x87's pointers by fxsave */
};

/* Of these what goes with a bit of CR4 that not every engine has. */
static const struct {
	uint32_t leaf;
	enum gpr reg;
	uint32_t bits, cr4;
} with_cr4[] = {
	{ 1, RCX, 0x34001000, CR4_OSXSAVE }, /* FMA, XSAVE, AVX, F16C */
	{ 7, RBX, 1u << 5, CR4_OSXSAVE },    /* AVX2 */
	{ 7, RCX, 1u << 9 | 1u << 10, CR4_OSXSAVE },
	{ 0x80000001, RCX, 1u << 11 | 1u << 16, CR4_OSXSAVE }, /* XOP, FMA4 */
	{ 0xd, RAX, ~0u, CR4_OSXSAVE },
	{ 0xd, RBX, ~0u, CR4_OSXSAVE },
	{ 0xd, RCX, ~0u, CR4_OSXSAVE },
	{ 7, RBX, 1u << 0, CR4_FSGSBASE },
	{ 7, RBX, 1u << 7, CR4_SMEP },
	{ 7, RBX, 1u << 20, CR4_SMAP },
	{ 7, RCX, 1u << 2, CR4_UMIP },
	{ 7, RCX, 1u << 3, CR4_PKE },
	{ 7, RCX, 1u << 16, CR4_LA57 },
};

#define AS_IT_IS(leaf) (((leaf) | 2) == 2) /* and nobody has anything to add */

/* The upper halves are 0 behind it. */
static inline void
ask(uint64_t *gpr)
{
	__asm__ volatile("mov %%rbx, %1; cpuid; xchg %%rbx, %1"
			 : "+a"(gpr[RAX]), "=&r"(gpr[RBX]), "+c"(gpr[RCX]), "=d"(gpr[RDX]));
}

/* What the CPU says of a leaf, less what a vCPU has not. */
static APART enum verdict
show(struct vcpu *v, struct exit *e)
{
	static const enum gpr at[] = { RAX, RBX, RCX, RDX };
	uint64_t cr4 = engine_cr4(v->engine, v->domain->mmu), *gpr = v->state.gpr;
	uint32_t leaf = (uint32_t)gpr[RAX], sub = (uint32_t)gpr[RCX];
	unsigned row = 0;

	ask(gpr);
	while (row < ARRAY_LEN(shown) &&
	       !(shown[row].leaf == leaf && (shown[row].sub == ANY || shown[row].sub == sub)))
		row++;
	for (unsigned i = 0; i < ARRAY_LEN(at); i++)
		gpr[at[i]] &= row < ARRAY_LEN(shown) ? shown[row].bits[i] : 0;
	for (unsigned i = 0; i < ARRAY_LEN(with_cr4); i++)
		if (with_cr4[i].leaf == leaf && !(with_cr4[i].cr4 & cr4))
			gpr[with_cr4[i].reg] &= ~with_cr4[i].bits;
	if (leaf == 1) {
		vcpu_need(v, STATE_CR);
		gpr[RCX] |= v->state.cr4 & CR4_OSXSAVE ? CPUID1_C_OSXSAVE : 0;
	}
	if (v->domain->platform && v->domain->platform->cpuid)
		v->domain->platform->cpuid(v, leaf);
	return vcpu_advance(v, e); /* safe: cpuid writes four registers */
}

enum verdict
exit_cpuid(struct vcpu *v, struct exit *e)
{
	if (!AS_IT_IS((uint32_t)v->state.gpr[RAX]))
		return show(v, e);
	ask(v->state.gpr);
	return vcpu_advance(v, e); /* safe: that was all */
}
EXIT_HANDLER(CPUID, NULL, exit_cpuid);

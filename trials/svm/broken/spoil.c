/*
 * Breaks a VMCB, by rule or by chance. Pure: the unit test and the trial on the CPU share it.
 */
#include <trials/svm/broken/spoil.h>

static unsigned
pick(uint64_t *seed, unsigned below)
{
	*seed = *seed * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)((*seed >> 33) % below);
}

/* A bit of the mask. */
static uint64_t
one_of(uint64_t mask, uint64_t *seed)
{
	unsigned n = pick(seed, 64);

	while (!(mask & 1ul << n))
		n = (n + 1) % 64;
	return 1ul << n;
}

static uint64_t
high_bit(unsigned from, uint64_t *seed)
{
	return 1ul << (from + pick(seed, 64 - from));
}

/* A map that ends beyond what there can be of memory; half of them begin before that. */
static uint64_t
far_map(unsigned pages, const struct svm_cpu *cpu, uint64_t *seed)
{
	uint64_t end = 1ul << cpu->phys_bits;

	if (pick(seed, 2))
		return end - (1 + pick(seed, pages - 1)) * 0x1000ul;
	return high_bit(cpu->phys_bits, seed) | pick(seed, 1u << 20) * 0x1000ul;
}

static void
long_mode(struct vmcb *b)
{
	b->efer |= EFER_LME | EFER_LMA;
	b->cr0 |= CR0_PG | CR0_PE;
	b->cr4 |= CR4_PAE;
	b->cs.attr &= (uint16_t)~ATTR_DB;
}

static void
spoil_state(struct vmcb *b, const struct svm_cpu *cpu, unsigned which, uint64_t *seed)
{
	switch (which) {
	case 0:
		b->efer &= ~(uint64_t)EFER_SVME;
		return;
	case 1:
		b->cr0 = (b->cr0 | CR0_NW) & ~(uint64_t)CR0_CD;
		return;
	case 2:
		b->cr0 |= high_bit(32, seed);
		return;
	case 3:
		b->cr3 |= high_bit(cpu->phys_bits, seed);
		return;
	case 4:
		b->cr4 |= one_of(~cpu->cr4, seed);
		return;
	case 5:
		b->dr6 |= high_bit(32, seed);
		return;
	case 6:
		b->dr7 |= high_bit(32, seed);
		return;
	case 7:
		b->efer |= one_of(~cpu->efer, seed);
		return;
	case 8:
		b->efer |= pick(seed, 2) ? EFER_LME : EFER_LMA;
		return;
	case 9:
		long_mode(b);
		b->cr4 &= ~(uint64_t)CR4_PAE;
		return;
	case 10:
		long_mode(b);
		b->cr0 &= ~(uint64_t)CR0_PE;
		return;
	default:
		long_mode(b);
		b->cs.attr |= ATTR_L | ATTR_DB;
		return;
	}
}

static void
spoil_any(struct vmcb *b, const struct svm_cpu *cpu, unsigned which, uint64_t *seed)
{
	static const uint8_t no_types[] = { 1, 5, 6, 7 }, no_memory[] = { 2, 3, 8, 0x86 };
	unsigned vector, byte;

	switch (which) {
	case 12:
		b->intercepts[1] &= ~(1u << SVM_VMRUN % 32);
		return;
	case 13:
		b->iopm_base = far_map(3, cpu, seed);
		return;
	case 14:
		b->msrpm_base = far_map(2, cpu, seed);
		return;
	case 15:
		b->asid = 0;
		return;
	case 16:
		b->eventinj =
			SVM_EVENT_VALID | (uint64_t)no_types[pick(seed, 4)] << 8 | pick(seed, 256);
		return;
	case 17:
		vector = pick(seed, 4) ? 32 + pick(seed, 224) : VEC_NMI;
		b->eventinj = SVM_EVENT_VALID | SVM_EVENT_EXCEPTION << 8 | vector;
		return;
	case 18:
		b->n_cr3 |= high_bit(cpu->phys_bits, seed);
		return;
	case 19:
		byte = 8 * pick(seed, 8);
		b->pat &= ~(0xfful << byte);
		b->pat |= (uint64_t)no_memory[pick(seed, 4)] << byte;
		return;
	default:
		spoil_state(b, cpu, which, seed);
	}
}

#define WAY(name, member, words)                                                                  \
	{                                                                                         \
		name, words, offsetof(struct vmcb, member), sizeof(((struct vmcb *)NULL)->member) \
	}
const struct spoil_way spoil_ways[] = {
	WAY("EFER", efer, "SVME must be 1"),
	WAY("CR0", cr0, "NW=1 needs CD=1"),
	WAY("CR0", cr0, "bits 63:32 must be 0"),
	WAY("CR3", cr3, "no bit beyond the CPU's physical addresses"),
	WAY("CR4", cr4, "a bit is set that this CPU has not"),
	WAY("DR6", dr6, "bits 63:32 must be 0"),
	WAY("DR7", dr7, "bits 63:32 must be 0"),
	WAY("EFER", efer, "a bit is set that this CPU has not"),
	WAY("EFER", efer, "LME or LMA, and this CPU has no long mode"),
	WAY("CR4", cr4, "EFER.LME=1 and CR0.PG=1 need PAE=1"),
	WAY("CR0", cr0, "EFER.LME=1 and PG=1 need PE=1"),
	WAY("CS.attrib", cs.attr, "in long mode L and D can't both be 1"),
	WAY("intercept vector 4", intercepts[1], "VMRUN (bit 0) must be intercepted"),
	WAY("IOPM_BASE_PA", iopm_base, "the map must end within physical memory"),
	WAY("MSRPM_BASE_PA", msrpm_base, "the map must end within physical memory"),
	WAY("Guest ASID", asid, "0 is the host's"),
	WAY("EVENTINJ", eventinj, "bits 10:8 are no type of an event"),
	WAY("EVENTINJ", eventinj, "an exception's vector is below 32, and not 2"),
	WAY("N_CR3", n_cr3, "no bit beyond the CPU's physical addresses"),
	WAY("G_PAT", pat, "each byte is a memory type: 0, 1, 4, 5, 6 or 7"),
};
const unsigned spoil_count = sizeof(spoil_ways) / sizeof(spoil_ways[0]);

uint64_t
spoil_rule(struct vmcb *b, const struct svm_cpu *cpu, unsigned which, uint64_t *seed)
{
	spoil_any(b, cpu, which, seed);
	return svm_field_value(b, spoil_ways[which].at, spoil_ways[which].bytes);
}

/*
 * Of DR7 only what arms nothing, since QEMU 7.2 breaks where VMRUN arms. Not N_CR3, for the guest
 * must not find memory; nor the intercept of SHUTDOWN, whose absence ends the machine.
 */
#define FIELD(name, member, mask)                                                                \
	{                                                                                        \
		name, offsetof(struct vmcb, member), sizeof(((struct vmcb *)NULL)->member), mask \
	}
static const struct {
	const char *name;
	uint32_t at, bytes;
	uint64_t mask;
} fields[] = {
	FIELD("EFER", efer, ~0ul),
	FIELD("EFER", efer, 0xffff),
	FIELD("CR0", cr0, ~0ul),
	FIELD("CR0", cr0, 0xffffffff),
	FIELD("CR3", cr3, ~0ul),
	FIELD("CR4", cr4, ~0ul),
	FIELD("CR4", cr4, 0xffffff),
	FIELD("DR6", dr6, ~0ul),
	FIELD("DR7", dr7, ~0xfful),
	FIELD("CS.attrib", cs.attr, ATTR_L | ATTR_DB),
	FIELD("intercept vector 4", intercepts[1], 0xffff),
	FIELD("IOPM_BASE_PA", iopm_base, ~0ul),
	FIELD("MSRPM_BASE_PA", msrpm_base, ~0ul),
	FIELD("Guest ASID", asid, 0xff),
	FIELD("EVENTINJ", eventinj, ~0ul),
	FIELD("EVENTINJ", eventinj, 0xfff | SVM_EVENT_VALID),
	FIELD("G_PAT", pat, ~0ul),
};

struct spoiled
spoil_bits(struct vmcb *b, uint64_t *seed)
{
	unsigned which = pick(seed, sizeof(fields) / sizeof(fields[0]));
	uint8_t *field = (uint8_t *)b + fields[which].at;
	struct spoiled done = { fields[which].name, 0 };

	for (unsigned n = 1 + pick(seed, 3); n; n--) {
		uint64_t bit = one_of(fields[which].mask, seed);

		for (unsigned i = 0; i < fields[which].bytes; i++)
			field[i] ^= (uint8_t)(bit >> 8 * i);
	}
	for (unsigned i = 0; i < fields[which].bytes; i++)
		done.value |= (uint64_t)field[i] << 8 * i;
	return done;
}

/*
 * BUILD: vmm/svm/rules.c solutions/4s-svm/own_rules.c trials/svm/broken/spoil.c
 */
/*
 * The rules of VMRUN: broken one at a time, by many values, each is the one that is named; and what
 * keeps to all of them is left alone, on CPUs that have more and less.
 */
#include <string.h>

#include <trials/svm/broken/spoil.h>

#include "tap.h"

#define SEEDS 2000

static const struct svm_cpu plain = {
	.cr4 = CR4_PAE | CR4_PSE | CR4_PGE | CR4_OSFXSR,
	.efer = EFER_SVME | EFER_LME | EFER_LMA | EFER_SCE,
	.phys_bits = 40,
	.has_long_mode = true,
};
static const struct svm_cpu rich = {
	.cr4 = 0xffffff,
	.efer = 0xffff,
	.phys_bits = 52,
	.has_long_mode = true,
};
static const struct svm_cpu short_mode = {
	.cr4 = CR4_PAE,
	.efer = EFER_SVME | EFER_LME | EFER_LMA,
	.phys_bits = 32,
	.has_long_mode = false,
};

/* A guest in protected mode, with paging. */
static struct vmcb
good(void)
{
	struct vmcb b;

	memset(&b, 0, sizeof(b));
	b.intercepts[1] = 1;
	b.iopm_base = 0x100000;
	b.msrpm_base = 0x104000;
	b.asid = 1;
	b.np_enable = 1;
	b.n_cr3 = 0x200000;
	b.pat = 0x0007040600070406;
	b.efer = EFER_SVME;
	b.cr0 = CR0_PE | CR0_PG | CR0_ET;
	b.cr3 = 0x1000;
	b.dr6 = DR6_RESET;
	b.dr7 = DR7_RESET;
	b.cs.attr = 0xc9b;
	return b;
}

static bool
taken(const struct vmcb *b, const struct svm_cpu *cpu)
{
	return !svm_broken(b, cpu, 0).field;
}

/* One rule, by many values: it is the first that is named, and the only one. */
static void
broken(unsigned which, const struct svm_cpu *cpu)
{
	const struct spoil_way *way = &spoil_ways[which];
	unsigned named = 0, alone = 0, sections = 0, values = 0;
	uint64_t seed = 20261128 + which;

	for (unsigned n = 0; n < SEEDS; n++) {
		struct vmcb b = good();
		uint64_t value = spoil_rule(&b, cpu, which, &seed);
		struct svm_broken r = svm_broken(&b, cpu, 0);

		named += r.field && !strcmp(r.field, way->field) && !strcmp(r.words, way->words);
		sections += r.field && !strncmp(r.section, "APM 2 15.", 9);
		values += r.field && r.value == value;
		alone += !svm_broken(&b, cpu, 1).field;
	}
	ok(named == SEEDS, "%s, %s: named each time", way->field, way->words);
	/* Without long mode, LME=1 breaks what long mode wants, too. */
	ok(alone == SEEDS || !cpu->has_long_mode, "... and no other rule is");
	if (named < SEEDS || alone < SEEDS)
		diag("named %u, alone %u of %u", named, alone, SEEDS);
	ok(sections == SEEDS && values == SEEDS, "... with its section and the field's value");
}

/* The fields hold nothing but what they are called. */
static void
values(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < spoil_count; i++) {
		const struct spoil_way *r = &spoil_ways[i];
		struct vmcb b;

		memset(&b, 0xff, sizeof(b));
		memset((uint8_t *)&b + r->at, 0, r->bytes);
		wrong += svm_field_value(&b, r->at, r->bytes) != 0;
		memcpy((uint8_t *)&b + r->at, "\x88\x77\x66\x55\x44\x33\x22\x11", r->bytes);
		wrong += svm_field_value(&b, r->at, r->bytes) !=
			 (0x1122334455667788 & (~0ul >> (64 - 8 * r->bytes)));
	}
	is_u64(wrong, 0, "the value of each rule's field is read, and nothing beside it");
}

/* Bits at the edges that a rule does not forbid. */
static void
legal(void)
{
	struct vmcb b = good();

	ok(taken(&b, &plain) && taken(&b, &rich) && taken(&b, &short_mode),
	   "a guest with paging is taken");
	b.cr0 = CR0_PG | CR0_ET;
	ok(taken(&b, &plain), "paging in real mode is taken: VMRUN alone allows it");
	b = good();
	b.cr0 |= CR0_NW | CR0_CD;
	b.dr6 = b.dr7 = 0xffffffff;
	b.cr3 = (1ul << 40) - 1;
	b.n_cr3 = (1ul << 40) - 0x1000;
	b.iopm_base = (1ul << 40) - 0x3000;
	b.msrpm_base = (1ul << 40) - 0x2000;
	ok(taken(&b, &plain), "the last values that are legal are taken");
	b = good();
	b.efer |= EFER_LME | EFER_LMA;
	b.cr4 |= CR4_PAE;
	b.cs.attr = 0xa9b;
	ok(taken(&b, &plain), "64-bit code is taken");
	b.cs.attr = 0xe9b;
	b.cr0 &= ~(uint64_t)CR0_PG;
	ok(taken(&b, &plain), "L and D together are taken outside of long mode");
	b = good();
	b.eventinj = 5ul << 8 | SVM_EVENT_HAS_ERROR;
	ok(taken(&b, &plain), "an event that is not valid is not looked at");
	b = good();
	b.np_enable = 0;
	b.n_cr3 = ~0ul;
	b.pat = ~0ul;
	ok(taken(&b, &plain), "without nested paging N_CR3 and G_PAT do not count");
}

/* All types and vectors of events, against the manual's table written out once more. */
static void
events(void)
{
	unsigned wrong = 0;

	for (unsigned type = 0; type < 8; type++)
		for (unsigned vector = 0; vector < 256; vector++) {
			struct vmcb b = good();
			bool right = type == 0 || type == 2 || type == 4 ||
				     (type == 3 && vector < 32 && vector != 2);

			b.eventinj = SVM_EVENT_VALID | type << 8 | vector;
			wrong += right != (taken(&b, &plain));
		}
	is_u64(wrong, 0, "all 2,048 types and vectors of events");
}

/* Whatever is in it: no access beyond the VMCB, no endless list. */
static void
anything(void)
{
	uint64_t seed = 7;
	unsigned refused = 0, most = 0;

	for (unsigned n = 0; n < 100 * SEEDS; n++) {
		struct vmcb b = good();
		unsigned count = 0;

		for (unsigned i = 0; i < n % 8; i++)
			spoil_bits(&b, &seed);
		while (svm_broken(&b, &plain, count).field)
			count++;
		refused += count > 0;
		most = count > most ? count : most;
	}
	ok(refused > SEEDS && refused < 100 * SEEDS && most > 3 && most <= spoil_count,
	   "any bits: %u of %u refused, for up to %u rules", refused, 100 * SEEDS, most);
}

int
main(void)
{
	legal();
	for (unsigned i = 0; i < spoil_count; i++)
		broken(i, strstr(spoil_ways[i].words, "no long mode") ? &short_mode : &plain);
	values();
	events();
	anything();
	return done_testing();
}

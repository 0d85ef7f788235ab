/*
 * BUILD: vmm/svm/rules.c trials/svm/spoil.c
 */
/*
 * The rules of VMRUN: broken one at a time, by many values, each is the one that is named; and what
 * keeps to all of them is left alone, on CPUs that have more and less.
 */
#include <string.h>

#include <trials/svm/spoil.h>

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

static unsigned
rule_of(const struct vmcb *b, const struct svm_cpu *cpu, const struct entry_rule *from)
{
	const struct entry_rule *r = svm_rule_broken(b, cpu, from);

	return r ? (unsigned)(r - svm_rules) : ~0u;
}

/* One rule, by many values: it is the first that is named, and the only one. */
static void
broken(unsigned which, const struct svm_cpu *cpu)
{
	const struct entry_rule *rule = &svm_rules[which];
	unsigned named = 0, alone = 0;
	uint64_t seed = 20261128 + which;

	for (unsigned n = 0; n < SEEDS; n++) {
		struct vmcb b = good();

		spoil_rule(&b, cpu, which, &seed);
		named += rule_of(&b, cpu, NULL) == which;
		alone += rule_of(&b, cpu, rule) == ~0u;
	}
	ok(named == SEEDS, "%s, %s: named each time", rule->field, rule->words);
	/* Without long mode, LME=1 breaks what long mode wants, too. */
	ok(alone == SEEDS || !cpu->has_long_mode, "... and no other rule is");
	if (named < SEEDS || alone < SEEDS)
		diag("named %u, alone %u of %u", named, alone, SEEDS);
	ok(!strncmp(rule->section, "APM 2 15.", 9), "... with its section");
}

/* Each rule's value is its field's: the fields hold nothing but what they are called. */
static void
values(void)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < svm_rule_count; i++) {
		const struct entry_rule *r = &svm_rules[i];
		struct vmcb b;

		memset(&b, 0xff, sizeof(b));
		memset((uint8_t *)&b + r->at, 0, r->bytes);
		wrong += svm_rule_value(&b, r) != 0;
		memcpy((uint8_t *)&b + r->at, "\x88\x77\x66\x55\x44\x33\x22\x11", r->bytes);
		wrong += svm_rule_value(&b, r) !=
			 (0x1122334455667788 & (~0ul >> (64 - 8 * r->bytes)));
	}
	is_u64(wrong, 0, "the value of each rule's field is read, and nothing beside it");
}

/* Bits at the edges that a rule does not forbid. */
static void
legal(void)
{
	struct vmcb b = good();

	ok(rule_of(&b, &plain, NULL) == ~0u && rule_of(&b, &rich, NULL) == ~0u &&
		   rule_of(&b, &short_mode, NULL) == ~0u,
	   "a guest with paging is taken");
	b.cr0 = CR0_PG | CR0_ET;
	ok(rule_of(&b, &plain, NULL) == ~0u, "paging in real mode is taken: VMRUN alone allows it");
	b = good();
	b.cr0 |= CR0_NW | CR0_CD;
	b.dr6 = b.dr7 = 0xffffffff;
	b.cr3 = (1ul << 40) - 1;
	b.n_cr3 = (1ul << 40) - 0x1000;
	b.iopm_base = (1ul << 40) - 0x3000;
	b.msrpm_base = (1ul << 40) - 0x2000;
	ok(rule_of(&b, &plain, NULL) == ~0u, "the last values that are legal are taken");
	b = good();
	b.efer |= EFER_LME | EFER_LMA;
	b.cr4 |= CR4_PAE;
	b.cs.attr = 0xa9b;
	ok(rule_of(&b, &plain, NULL) == ~0u, "64-bit code is taken");
	b.cs.attr = 0xe9b;
	b.cr0 &= ~(uint64_t)CR0_PG;
	ok(rule_of(&b, &plain, NULL) == ~0u, "L and D together are taken outside of long mode");
	b = good();
	b.eventinj = 5ul << 8 | SVM_EVENT_HAS_ERROR;
	ok(rule_of(&b, &plain, NULL) == ~0u, "an event that is not valid is not looked at");
	b = good();
	b.np_enable = 0;
	b.n_cr3 = ~0ul;
	b.pat = ~0ul;
	ok(rule_of(&b, &plain, NULL) == ~0u, "without nested paging N_CR3 and G_PAT do not count");
}

/* All types and vectors of events, against the manual's table written out once more. */
static void
events(void)
{
	unsigned wrong = 0;

	for (unsigned type = 0; type < 8; type++)
		for (unsigned vector = 0; vector < 256; vector++) {
			struct vmcb b = good();
			bool taken = type == 0 || type == 2 || type == 4 ||
				     (type == 3 && vector < 32 && vector != 2);

			b.eventinj = SVM_EVENT_VALID | type << 8 | vector;
			wrong += taken != (rule_of(&b, &plain, NULL) == ~0u);
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
		const struct entry_rule *r = NULL;
		unsigned count = 0;

		for (unsigned i = 0; i < n % 8; i++)
			spoil_bits(&b, &seed);
		while ((r = svm_rule_broken(&b, &plain, r)))
			count++;
		refused += count > 0;
		most = count > most ? count : most;
	}
	ok(refused > SEEDS && refused < 100 * SEEDS && most > 3 && most <= svm_rule_count,
	   "any bits: %u of %u refused, for up to %u rules", refused, 100 * SEEDS, most);
}

int
main(void)
{
	legal();
	for (unsigned i = 0; i < svm_rule_count; i++)
		broken(i, svm_rules[i].broken && strstr(svm_rules[i].words, "no long mode")
				  ? &short_mode
				  : &plain);
	values();
	events();
	anything();
	return done_testing();
}

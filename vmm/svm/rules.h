/*
 * What AMD-V's CPU checks at VMRUN, in words.
 */
#pragma once

#include <vmm/rules.h>
#include <vmm/svm/vmcb.h>

/* What this CPU has, as far as rules ask for it. */
struct svm_cpu {
	uint64_t cr4, efer; /* the bits that may be set */
	unsigned phys_bits; /* of a physical address */
	bool has_long_mode;
};

/* What the rules look at. */
struct svm_entry {
	const struct vmcb *vmcb;
	const struct svm_cpu *cpu;
};

extern const struct entry_rule svm_rules[];
extern const size_t svm_rule_count;

/* The first rule that this VMCB breaks, behind `from`; NULL: none. */
const struct entry_rule *svm_rule_broken(const struct vmcb *b, const struct svm_cpu *cpu,
					 const struct entry_rule *from);
uint64_t svm_rule_value(const struct vmcb *b, const struct entry_rule *rule);

/*
 * What AMD-V's CPU checks at VMRUN, in words.
 */
#pragma once

#include <vmm/exits/rules.h>
#include <vmm/svm/vmcb.h>

/* What this CPU has, as far as rules ask for it. */
struct svm_cpu {
	uint64_t cr4, efer; /* the bits that may be set */
	unsigned phys_bits; /* of a physical address */
	bool has_long_mode;
	uint32_t asids;       /* how many there are, the host's among them */
	bool has_giant_pages; /* of 1 GiB */
};

/* What the rules look at. */
struct svm_entry {
	const struct vmcb *vmcb;
	const struct svm_cpu *cpu;
};

#define SVM_FIELD(name, member) \
	name, offsetof(struct vmcb, member), sizeof(((struct vmcb *)NULL)->member)
#define SVM_CHECKS "APM 2 15.5.1 \"Canonicalization and Consistency Checks\""
#define SVM_EVENTS "APM 2 15.20 \"Event Injection\""

/* One of those that exercise 4s.7 writes: NULL, or what is wrong with the field, in words. */
struct svm_own_rule {
	const char *field;
	uint32_t at, bytes;
	const char *section;
	const char *(*wrong)(const struct vmcb *b, const struct svm_cpu *cpu);
};
#define SVM_OWN_RULES 6u /* five functions; there are two maps */
extern const struct svm_own_rule svm_own_rules[SVM_OWN_RULES];

extern const struct entry_rule svm_rules[];
extern const size_t svm_rule_count;

/* The first rule that this VMCB breaks, behind `from`; NULL: none. */
const struct entry_rule *svm_rule_broken(const struct vmcb *b, const struct svm_cpu *cpu,
					 const struct entry_rule *from);

/* A rule that is broken, of either table; `field` is NULL: none is. */
struct svm_broken {
	const char *field, *words, *section;
	uint64_t value;
};
/* The number-th of all that this VMCB breaks. */
struct svm_broken svm_broken(const struct vmcb *b, const struct svm_cpu *cpu, unsigned number);
uint64_t svm_field_value(const struct vmcb *b, uint32_t at, uint32_t bytes);

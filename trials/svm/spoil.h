/*
 * VMCBs that are not as they should be.
 */
#pragma once

#include <vmm/svm/rules.h>

/* Breaks the rule svm_rules[which], by a value that *seed chooses. */
void spoil_rule(struct vmcb *b, const struct svm_cpu *cpu, unsigned which, uint64_t *seed);

/* A field that rules look at, with one to three of its bits changed: its name, its value. */
struct spoiled {
	const char *field;
	uint64_t value;
};
struct spoiled spoil_bits(struct vmcb *b, uint64_t *seed);

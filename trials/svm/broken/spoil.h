/*
 * VMCBs that are not as they should be.
 */
#pragma once

#include <vmm/svm/rules.h>

/* What can be broken: the field and the words of svm_broken(). */
struct spoil_way {
	const char *field, *words;
	uint32_t at, bytes;
};
extern const struct spoil_way spoil_ways[];
extern const unsigned spoil_count;

/* Breaks that, by a value that *seed chooses: the field's then. */
uint64_t spoil_rule(struct vmcb *b, const struct svm_cpu *cpu, unsigned which, uint64_t *seed);

/* A field that rules look at, with one to three of its bits changed: its name, its value. */
struct spoiled {
	const char *field;
	uint64_t value;
};
struct spoiled spoil_bits(struct vmcb *b, uint64_t *seed);

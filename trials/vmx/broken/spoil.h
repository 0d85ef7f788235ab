/*
 * VMCSs that are not as they should be.
 */
#pragma once

#include <trials/vmx/image.h>

/* What can be broken: a row of vmx_rule(), and the words of vmx_rule_words() then. */
struct spoil_way {
	size_t row;
	const char *words;
};
struct spoil_way vmcs_spoil_way(size_t which);
extern const size_t vmcs_spoil_count;

/*
 * Breaks that, by a value that *seed chooses, in a guest that is put into the mode which the rule
 * asks for. A rule that no value breaks on this CPU stays whole.
 */
void vmcs_spoil_rule(struct vmcs_image *image, const struct vmx_cpu *cpu, size_t which,
		     uint64_t *seed);

/* A field that rules look at, with one to three of its bits changed. */
struct spoiled {
	const char *name;
	uint32_t field;
};
struct spoiled vmcs_spoil_bits(struct vmcs_image *image, uint64_t *seed);

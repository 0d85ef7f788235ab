/*
 * VMCSs that are not as they should be.
 */
#pragma once

#include <vmm/vmx/rules.h>

/* A VMCS's fields outside of the CPU, by a number of ten bits: type and width, and the index. */
#define IMAGE_FIELDS 1024
struct vmcs_image {
	uint64_t field[IMAGE_FIELDS];
};

static inline uint64_t *
image_field(struct vmcs_image *image, uint32_t encoding)
{
	return &image->field[(encoding >> 10 & 31) * 32 + (encoding >> 1 & 31)];
}

/* For struct vmx_attempt. */
uint64_t image_read(const void *image, uint32_t encoding);

/*
 * Breaks rule `which` by a value that *seed chooses, in a guest that is put into the mode which the
 * rule asks for. A rule that no value breaks on this CPU stays whole.
 */
void vmcs_spoil_rule(struct vmcs_image *image, const struct vmx_cpu *cpu, size_t which,
		     uint64_t *seed);
extern const size_t vmcs_spoil_count; /* rules that it knows */

/* A field that rules look at, with one to three of its bits changed. */
struct spoiled {
	const char *name;
	uint32_t field;
};
struct spoiled vmcs_spoil_bits(struct vmcs_image *image, uint64_t *seed);

/*
 * A VMCS outside of the CPU, where its fields are memory.
 */
#pragma once

#include <vmm/vmx/rules.h>

/* Its fields by a number of ten bits: type and width, and the index (SDM 3C table 25-21). */
#define IMAGE_FIELDS         1024
#define IMAGE_SLOT(encoding) (((encoding) >> 10 & 31) * 32 + ((encoding) >> 1 & 31))
struct vmcs_image {
	uint64_t field[IMAGE_FIELDS];
};

static inline uint64_t *
image_field(struct vmcs_image *image, uint32_t encoding)
{
	return &image->field[IMAGE_SLOT(encoding)];
}

/* For struct vmx_attempt. */
static inline uint64_t
image_read(const void *image, uint32_t encoding)
{
	const struct vmcs_image *m = image;

	return m->field[IMAGE_SLOT(encoding)];
}

/*
 * A PV kernel's image: ELF64 with Xen's notes (xen/include/public/elfnote.h). Pure: it knows bytes,
 * and nobody's memory. Whoever made the image is not trusted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_SEGMENTS 16
#define PV_UNSET    (~0ull)

struct pv_segment {
	uint64_t offset, filesz; /* in the file */
	uint64_t at, memsz;      /* in guest memory, from pfn 0 on */
};

struct pv_image {
	const uint8_t *bytes;
	uint64_t size;
	/* the notes' words; PV_UNSET: there is none */
	uint64_t entry, hypercall_page, virt_base, paddr_offset, init_p2m;
	bool mod_start_pfn;
	struct pv_segment segment[PV_SEGMENTS];
	unsigned segments;
	uint64_t end; /* of the highest, rounded up to a page, in guest memory */
};

/* Whether these bytes begin as an ELF64 file that has a note of Xen's. */
bool pv_is_image(const uint8_t *bytes, uint64_t size);
/* NULL, or what is wrong with it in words. */
const char *pv_read_image(struct pv_image *i, const uint8_t *bytes, uint64_t size);

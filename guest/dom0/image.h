/*
 * A domain that is put away, as a file or a drive has it. All in pages of 4096 bytes:
 *
 *   | head | kinds | where its p2m is | contexts | pages of memory ... |
 *
 *   kinds     a byte for each guest frame (IMAGE_ below)
 *   p2m       of each page of its p2m which guest frame it is, as a uint32_t: one page
 *   contexts  a struct xen_guest_context for each vCPU: two pages
 *   memory    in the order of guest frames those that have IMAGE_DATA; all others are zeros
 *
 * Where a page table, a context or start_info has a machine frame's number, a guest frame's is in
 * its place: who brings it back puts others there. The head is written last, so that what was cut
 * short is none; it has sums of all (crc.h). Sums keep nobody out who means harm: what an image
 * says is checked again where it is used. Xen's own stream (libxc-migration-stream) has the same in
 * records that name and measure themselves, for tools of other releases, and a record of libxl's
 * around them; nothing here reads those. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define IMAGE_MAGIC   "ZenoSave"
#define IMAGE_VERSION 1u
#define IMAGE_PAGE    4096u
#define IMAGE_MOST    (1ul << 18) /* guest frames: 1 GiB */
#define IMAGE_CONTEXT 2u          /* pages of one */

enum {
	IMAGE_TYPE = 7,   /* 0: memory; 1 to 4: a page table */
	IMAGE_PINNED = 8, /* ... that is pinned */
	IMAGE_DATA = 16,  /* it is not all zeros */
};

struct image_head {
	char magic[8];
	uint32_t version;
	uint32_t crc;  /* of this page, with 0 here */
	uint64_t data; /* pages of memory */
	uint32_t crc_tables, crc_data;
	uint64_t frames;                           /* guest frames: of whole MiB */
	uint64_t console_pfn, store_pfn, info_pfn; /* start_info's */
	uint64_t ns;                               /* its own clock */
	uint32_t vcpus, weight;
	char name[24], file[64]; /* its own; that of dom0's which says what devices it has */
};

/* Pages that lie before those of memory, the head, too. */
static inline uint64_t
image_tables(const struct image_head *h)
{
	uint64_t kinds = (h->frames + IMAGE_PAGE - 1) / IMAGE_PAGE;

	return 1 + kinds + 1 + (uint64_t)h->vcpus * IMAGE_CONTEXT;
}

/* `page` begins with one: its sum. */
uint32_t image_sum(const void *page);
/* Why it is none, of a file of so many bytes; NULL: it is one, as far as it says. */
const char *image_wrong(const void *page, uint64_t size);

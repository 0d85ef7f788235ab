/*
 * Physical memory: one record per machine frame.
 *
 * Before frame_init() has run (and for ever, as long as exercise 0.4 is not done) memory comes from
 * the boot allocator, which only ever goes up; after it, from the page allocator that Lab 0 writes.
 */
#pragma once

#include <kern/map.h>

enum frame_type {
	FRAME_RESERVED, /* not RAM, or firmware's */
	FRAME_FREE,
	FRAME_HOST,  /* kernel image, heap, page tables; some domain's nested ones */
	FRAME_GUEST, /* some domain's RAM: `owner` says whose */
};

#define OWNER_HOST 0

struct frame {
	uint32_t refs;  /* 0: free or reserved */
	uint16_t owner; /* domain id, OWNER_HOST for Zeno itself */
	uint8_t type;   /* enum frame_type */
	uint8_t place_high;
	union {
		struct frame *next; /* on the free list; the owner's while allocated */
		struct {            /* FRAME_GUEST: what a PV guest uses it as, and how often */
			uint32_t type_refs;
			uint8_t page_type;  /* 0: none, ordinary memory */
			uint8_t pinned;     /* it stays of this type though nobody refers to it */
			uint16_t place_low; /* vmm/pv/pv.h, pv_place() */
		};
	};
};

extern struct frame *frames; /* frames[mfn] for mfn < frame_count */
extern uint64_t frame_count;

mfn_t frame_mfn(const struct frame *f);
struct frame *frame_of(mfn_t f); /* NULL if the number is out of range */

/* Boot allocator: zeroed memory from the direct map, `align` a power of two; panics when out of
 * RAM. */
void *boot_alloc(size_t bytes, size_t align);

/* Lab 0.4. frame_alloc: one zeroed frame with refs 1, NULL when none is left; frame_free: drops a
 * reference and, at 0, gives the frame back; freeing a free or reserved frame is the host's bug:
 * panic. */
void frame_list_init(void);
struct frame *frame_list_alloc(void);
void frame_list_free(struct frame *f);

/* What the rest of the kernel calls: MFN_NONE when out of memory. The frame is zeroed. */
mfn_t frame_alloc(enum frame_type type, uint16_t owner);
void frame_put(mfn_t f);
uint64_t frames_free(void);

/* One of Zeno's own, by its address in the direct map; NULL when out of memory. */
static inline void *
host_page(void)
{
	mfn_t f = frame_alloc(FRAME_HOST, OWNER_HOST);

	return mfn_ok(f) ? mfn_ptr(f) : NULL;
}

/* NULL is none, and nothing to do. */
static inline void
host_page_put(void *page)
{
	if (page)
		frame_put(ptr_mfn(page));
}

/* Fills the frame table in and hands the free frames to the page allocator: see kern/frame.c. */
void frame_init(void);

/* RAM from this address on is not used: the direct map has no room for it. */
uint64_t ram_limit(void);

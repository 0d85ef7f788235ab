/*
 * The host's 4-level paging (SDM 3A 4.5). Every root shares slots 256-271, so a trap loads no CR3.
 */
#pragma once

#include <inc/addr.h>

typedef uint64_t pte_t;

#define PTE_P       (1ul << 0)
#define PTE_W       (1ul << 1)
#define PTE_U       (1ul << 2)
#define PTE_A       (1ul << 5)
#define PTE_D       (1ul << 6)
#define PTE_PS      (1ul << 7)
#define PTE_G       (1ul << 8)
#define PTE_NX      (1ul << 63)
#define PTE_ADDR(e) ((e)&0x000ffffffffff000ul)

extern mfn_t host_root; /* the root the host idles on: no slot but the hole's */

/* Builds the final map (W^X, guard pages, direct map, frame table, M2P) and loads it. */
void paging_init(void);

/* A new root with the shared slots filled in; its slots 0-255 are empty. MFN_NONE: no memory. */
mfn_t root_new(void);
/* Frees a root and the *tables* below slots 0-255 and its own slot 260, not the frames they map. */
void root_free(mfn_t root);

/* The PML4 entry of a slot. A root gets its own slot 260 by clearing the entry, then page_map(). */
pte_t *root_slot(mfn_t root, unsigned slot);

/* Maps one 4 KiB page; makes tables as needed. 0, -ENOMEM. Flushes the page if it is in the live
 * root. */
int page_map(mfn_t root, uint64_t va, mfn_t frame, pte_t flags);
void page_unmap(mfn_t root, uint64_t va);
/* The entry of va's page; at level 1 it may be empty. NULL: no table. *level: 1 (4 KiB), 2, 3. */
pte_t *page_entry(mfn_t root, uint64_t va, int *level);

/* Zeroed memory from the boot allocator, mapped read-write at va in the host's hole. Panics. */
void *table_area(uint64_t va, size_t bytes);

/* A stack of `pages` pages with an unmapped guard page below. Returns its top. */
uint64_t stack_alloc(unsigned pages, const char *name);
/* The name of the stack whose guard page holds va, or NULL: for the panic message. */
const char *stack_guard_name(uint64_t va);

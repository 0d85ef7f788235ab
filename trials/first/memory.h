/*
 * The memory of a guest of a few bytes of code, whatever the engine: one page, the nested tables
 * that lead to it, and the page that the CPU runs it by (memory.c).
 */
#pragma once

#include <inc/addr.h>
#include <kern/kern.h>

#define FIRST_CODE_AT 0x200000u /* the only page of the guest's that there is */

enum {
	FIRST_CONTROL, /* its VMCB, or VMCS */
	FIRST_LEVEL4,
	FIRST_LEVEL3,
	FIRST_LEVEL2,
	FIRST_LEVEL1,
	FIRST_CODE,
	FIRST_OWN, /* for what else the trial needs */
	FIRST_PAGES,
};
extern mfn_t first_page[FIRST_PAGES];

/* They are kept from one trial to the next. False: the host has no memory. */
bool first_pages(void);
/*
 * Nested tables to one page at FIRST_CODE_AT: each entry has these bits, the last one `leaf`, too.
 * Its code is that of all rounds (200007 is a cpuid), or one that never exits.
 */
void first_map(bool spins, uint64_t bits, uint64_t leaf);

/*
 * The MMU mode of engines whose CPU walks two sets of tables: the guest's own, and below them
 * Zeno's, from guest-physical to machine addresses.
 *
 * Here these are flat: all of RAM is mapped when the domain is made, a page at a time, for a
 * domain's frames lie anywhere, and so no page is a large one. Both CPUs' tables have four levels,
 * and the writable bit in the same place; what else an entry has differs.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#pragma once

#include <stdint.h>

#include <inc/addr.h>
#include <vmm/mem/mmu.h>

struct vcpu;

/* What an entry has beside an address. */
struct nested_format {
	uint64_t table, page;
};
extern const struct nested_format nested_npt, nested_ept;

/*
 * Makes v->root, the top of the nested tables. 0 or -ENOMEM; the mode's free() takes a half-made
 * one.
 */
int nested_init(struct vcpu *v, const struct nested_format *format);

/* walk.c: the guest's own tables, walked in software. 0, or -EFAULT with *fault. */
int nested_walk(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault);

/*
 * The same, and what it went by: the words of the guest's memory that its entries lie in. A walk
 * comes to the same end as long as these, and the control registers, are what they were.
 */
#define NESTED_LEVELS 4u
struct nested_trail {
	unsigned length; /* 0: paging is off */
	const uint64_t *at[NESTED_LEVELS];
	uint64_t value[NESTED_LEVELS];
};
int nested_trail(struct vcpu *v, gva_t a, gpa_t *out, struct nested_trail *trail);

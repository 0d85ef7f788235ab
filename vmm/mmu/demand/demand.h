/*
 * The MMU mode "nested": nested tables that are empty when the domain is made. The CPU comes back
 * from each frame that it misses (a violation); if it is RAM it gets a frame of the machine's then,
 * and an entry. What the guest never touches costs nothing.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <kern/paging.h>
#include <vmm/domain.h>
#include <vmm/exit.h>
#include <vmm/mem/mmu.h>
#include <vmm/mmu/nested/nested.h>

/* A domain's, one frame: the first vCPU's mmu_data. */
struct demand {
	struct nested_own own;
	uint64_t violations; /* exits; some fill, the others are a device's, or tracked writes */
	struct exit last;    /* the last one */
};

static inline struct demand *
demand_of(const struct domain *d)
{
	return d->vcpu->mmu_data;
}

/*
 * fill.c (exercise 5.1): the entry that maps this frame, or that is to map it, at a level (1:
 * 4 KiB, 2: 2 MiB, 3: 1 GiB), with all tables above it; a larger page in the way is split. NULL: no
 * memory for a table.
 */
pte_t *demand_entry(struct domain *d, gfn_t g, unsigned level);
/* What becomes of a violation. */
enum mmu_outcome demand_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault);

/* protect.c (exercise 5.3): of vmm/mem/mmu.h. The domain has its tables. */
void demand_protect(struct domain *d, gfn_t g);
void demand_unprotect(struct domain *d, gfn_t g);

/*
 * demand.c: a frame, or as many as the domain takes at once, for RAM that has none. 0; -EFAULT, it
 * is no RAM; -ENOMEM.
 */
int demand_touch(struct domain *d, gfn_t g);
/* The level of the largest page that may map this frame now: 1, 2 or 3. */
unsigned demand_level(struct domain *d, gfn_t g);
/* A violation in words. */
void demand_words(const struct exit *e, char *buf, size_t size);

/* A large page becomes 512 smaller ones with the same rights. False: no memory for the table. */
bool nested_split(pte_t *entry, unsigned level);

/*
 * log.c: the dirty log. A write to this frame was refused: whether that was for the log alone; then
 * it is logged, and may be done. A frame is new, and nobody has written to it.
 */
bool nested_log_write(struct domain *d, gfn_t g);
void nested_log_new(struct domain *d, gfn_t g);

/*
 * Nested tables, filled by violation: exercise 5.1.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/mmu/demand/demand.h>
#include <vmm/vcpu.h>

/* EXERCISE 5.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 5.0 */

pte_t *
demand_entry(struct domain *d, gfn_t g, unsigned level)
{
	/*
	 * EXERCISE 5.1a: the way down
	 * Holds: gives the place in this guest's nested tables at which a page of this level that
	 *  has g in it is entered, whatever stands there. What the guest could reach before, it
	 *  reaches still.
	 * Beware: tables that are missing on the way; a larger page that is; memory for neither.
	 *  Two CPUs, two formats: one code for both.
	 * Manual: SDM 3C "EPT Translation Mechanism", APM 2 "Nested Paging".
	 * Tools: frame_alloc(), hpa_ptr(), mfn_ptr(), nested_format of vmm/domain.h,
	 *  nested_split(), nested_wrong(), OWNER_HOST of kern/frame.h, PTE_ADDR
	 */
	exercise_todo("5.1", "handouts/lab5a.md#ex-5-1");
	(void)d;
	(void)g;
	(void)level;
	return NULL;
	/* END EXERCISE 5.1a */
}

/* Maps what the p2m has for g: *p is RAM, or a frame of ones. */
static enum mmu_outcome
fill(struct domain *d, gfn_t g, const struct p2m_entry *p)
{
	/*
	 * EXERCISE 5.1b: one page
	 * Holds: the guest reaches this frame, and what the same page maps beside it, by the
	 *  largest page that may be. It may do what it likes, but for writes to ones, or that
	 *  somebody wants to hear of.
	 * Beware: *p speaks of one frame. No memory for a table kills nobody who reads it already.
	 * Manual: SDM 3C "EPT Translation Mechanism", APM 2 "Nested Paging".
	 * Tools: demand_entry(), demand_level(), FRAMES_OF() of vmm/mmu/nested/nested.h,
	 *  MMU_EMULATE, MMU_FILLED, MMU_NO_FRAME, P2M_ONES, page_entry(), PTE_PS, PTE_W, ram_is()
	 */
	exercise_todo("5.1", "handouts/lab5a.md#ex-5-1");
	(void)d;
	(void)g;
	(void)p;
	return MMU_TODO_NESTED;
	/* END EXERCISE 5.1b */
}

enum mmu_outcome
demand_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault)
{
	struct domain *d = v->domain;
	gfn_t g = gpa_to_gfn(gpa(e->gpa));
	const struct p2m_entry *p = p2m_entry(d, g);

	demand_of(d)->violations++;
	demand_of(d)->last = *e;
	/*
	 * EXERCISE 5.1c: whose violation
	 * Holds: RAM that nobody has touched gets its memory now, and no other access makes any.
	 *  A write that only the dirty log waited for is noted, and the guest does it. What it
	 *  may not do is emulated.
	 * Beware: the guest chooses the address. A frame may be no RAM, or ones. The CPU may have
	 *  met a wrong entry.
	 * Manual: SDM 3C "EPT-Induced VM Exits", APM 2 "Nested Paging".
	 * Tools: ACCESS_WRITE, demand_touch(), fill(), MMU_BAD_TABLES, MMU_EMULATE,
	 *  MMU_NO_FRAME, nested_log_write(), P2M_ONES, P2M_RAM, page_track()
	 */
	exercise_todo("5.1", "handouts/lab5a.md#ex-5-1");
	(void)p;
	(void)g;
	(void)fill;
	return MMU_TODO_NESTED;
	/* END EXERCISE 5.1c */
}

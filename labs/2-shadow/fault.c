/*
 * A page fault while the guest's paging is on: whose is it? Lab 2A, exercise 2.3.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/mmu/shadow.h>

#define TABLES_PER_FILL 3u /* shadows that one fill may have to make */

/* EXERCISE 2.0: free region for helpers of your own. */
/* END EXERCISE 2.0 */

static unsigned
how_of(const struct exit *e)
{
	unsigned how = e->error & PF_U ? HOW_USER : 0;

	if (e->access == ACCESS_WRITE)
		how |= HOW_WRITE;
	return e->access == ACCESS_FETCH ? how | HOW_FETCH : how;
}

/* Whether the CPU may be given this access: there is RAM, and nobody wants to be told of the write. */
static bool
may_map(struct shadow_mmu *m, const struct walk *w, unsigned how)
{
	const struct p2m_entry *frame = p2m_entry(m->domain, gpa_to_gfn(w->gpa));

	if (!frame || frame->type != P2M_RAM)
		return false;
	if (!(how & HOW_WRITE))
		return true;
	return !frame->trace && w->rights & PTE_W; /* else: CR0.WP is 0, and the host's is 1 */
}

/* The CPU could not go through our tables at e->gva: could it have gone through the guest's? */
enum mmu_outcome
shadow_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault)
{
	struct shadow_mmu *m = shadow_of(v->domain);
	struct walk_memory memory = guest_memory(m);
	unsigned how = how_of(e);
	struct walk w = { 0 };

	/* EXERCISE 2.3: guest_walk() from e->gva with how_of(e). If it fails, this is a true fault: fill *fault in with
	 * the address and the guest's own error code, and say MMU_TRUE_FAULT. If not, the fault is hidden from the guest: if
	 * may_map(), walk_mark() the guest's entries, make room (shadow_reclaim(m, TABLES_PER_FILL); MMU_NO_MEMORY
	 * if there is none) and shadow_fill(): MMU_FILLED. If the CPU may not do it alone: MMU_EMULATE, and no bit is
	 * set here. Count stats.faults, .filled, .emulated. (SDM 3A 4.7; 6.15 "Interrupt 14")
	 */
	exercise_todo("2.3", "handouts/lab2a.md#ex-2-3");
	(void)memory, (void)how, (void)w, (void)fault, (void)may_map;
	return MMU_TODO;
	/* END EXERCISE 2.3 */
}

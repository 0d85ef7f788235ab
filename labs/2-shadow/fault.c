/*
 * A page fault while the guest's paging is on: whose is it? Lab 2A, exercise 2.3.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/mmu/shadow/shadow.h>

#define TABLES_PER_FILL PAGE_LEVELS /* shadows that one fill may have to make */

/* EXERCISE 2.0: free region for helpers of your own. */
/* END EXERCISE 2.0 */

/*
 * Whether the CPU may be given this access: there is RAM, and nobody wants to be told of the write.
 */
static bool
may_map(struct shadow_mmu *m, const struct walk *w, unsigned how)
{
	const struct p2m_entry *frame = p2m_entry(m->domain, gpa_to_gfn(w->gpa));

	if (!frame || frame->type != P2M_RAM)
		return false;
	/* EXERCISE 2.3a: A read or a fetch of RAM is the CPU's to do. A write is not if the frame is tracked (frame->track);
	 * nor if the guest's entries do not grant PTE_W though the walk went well: what must be 0 then in the guest's
	 * CR0, and is 1 in the host's? (SDM 3A 4.6.1)
	 */
	exercise_todo("2.3", "handouts/lab2a.md#ex-2-3");
	(void)w, (void)how;
	return true;
	/* END EXERCISE 2.3a */
}

/* The CPU could not go through our tables at e->gva: could it have gone through the guest's? */
enum mmu_outcome
shadow_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault)
{
	struct shadow_mmu *m = shadow_of(v);
	struct walk_memory memory = guest_memory(m);
	unsigned how = e->access;
	struct walk w;

	if (guest_walk(&m->paging, gva(e->gva), how, &memory, &w)) {
		/* EXERCISE 2.3b: No: a true fault, the guest's own. Fill *fault in: `pending`, the address, and which
		 * error code, the CPU's (e->error) or that of the guest's tables? Count stats.faults; MMU_TRUE_FAULT.
		 * (SDM 3A 4.7; 6.15 "Interrupt 14")
		 */
		exercise_todo("2.3", "handouts/lab2a.md#ex-2-3");
		(void)fault;
		return MMU_TODO_FAULT;
		/* END EXERCISE 2.3b */
	}
	/*
	 * Yes: a fault that is hidden from the guest. What can't be given to the CPU is done for
	 * it, and sets no bit here.
	 */
	if (!may_map(m, &w, how)) {
		m->stats.emulated++;
		return MMU_EMULATE;
	}
	if (!shadow_reclaim(m, TABLES_PER_FILL))
		return MMU_NO_MEMORY;
	walk_mark(&m->paging, how, &memory, &w);
	m->stats.filled++;
	return shadow_fill(m, gva(e->gva), &w) ? MMU_TODO_FILL : MMU_FILLED;
}

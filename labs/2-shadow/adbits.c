/*
 * Accessed and dirty bits: the guest's, in its own tables. Lab 2B, exercise 2.5.
 *
 * The CPU sets these bits in the tables that it walks, and those are ours. So an entry of ours may
 * only be there once the guest's is accessed, and may only allow writes once the guest's is dirty:
 * the first access of each kind comes to us, and we set the bit.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/mmu/shadow/shadow.h>

/* EXERCISE 2.0: free region for helpers of your own. */
/* END EXERCISE 2.0 */

/* After a walk that did not fail. */
void
walk_mark(const struct paging *p, unsigned how, const struct walk_memory *memory, struct walk *w)
{
	const struct paging_format *g = p->format;

	/* EXERCISE 2.5a: At each level of memory from the top down to w->last, not at g->registers: set PTE_A, and at
	 * w->last PTE_D, too, if `how` has ACCESS_WRITE. Write with memory->write() and only what changes; keep w->step[]
	 * up to date. (SDM 3A 4.8 "Accessed and Dirty Flags")
	 */
	exercise_todo("2.5", "handouts/lab2b.md#ex-2-5");
	(void)g, (void)how, (void)memory, (void)w;
	/* END EXERCISE 2.5a */
}

/* Whether the CPU may write to the page without asking us first. */
bool
walk_dirty(const struct walk *w)
{
	/* EXERCISE 2.5b: What does the entry that maps the page say? */
	exercise_todo("2.5", "handouts/lab2b.md#ex-2-5");
	return w->rights & PTE_W;
	/* END EXERCISE 2.5b */
}

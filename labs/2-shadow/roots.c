/*
 * Shadows outlive a change of CR3, and are given up when there are too many. Lab 2B, exercise 2.7.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/map.h>
#include <vmm/mmu/shadow/shadow.h>

#define PDPT_ENTRIES 4u

/* EXERCISE 2.0: free region for helpers of your own. */
/* END EXERCISE 2.0 */

/*
 * CR3 was loaded: m->paging says what with. The root's four entries lead to the shadows that belong
 * to it.
 */
void
shadow_load_root(struct shadow_mmu *m)
{
	const struct paging *p = &m->paging;

	if (m->top_level == 4) { /* its top table has a shadow of its own, or will have one */
		m->top = NO_SHADOW;
		return;
	}
	for (unsigned i = 0; i < PDPT_ENTRIES; i++)
		shadow_clear(m, ROOT_SLOT, i);
	/* EXERCISE 2.7a: That would do, for faults fill the root like any other table. But shadows of
	 * this CR3 may be there from the last time: shadow_find() the page directory's for each GiB
	 * (level 2, quadrant i, the paging_format's id) and shadow_set() the entry, with all rights.
	 * To be found is no use yet: `writes` stays. (SDM 3A 4.10.4: what the CPU must forget)
	 */
	exercise_todo("2.7", "handouts/lab2b.md#ex-2-7");
	(void)p, shadow_free_all(m);
	/* END EXERCISE 2.7a */
}

/* Sees to it that `n` shadows can be made; false: not even with all others given up. */
bool
shadow_reclaim(struct shadow_mmu *m, unsigned n)
{
	if (shadow_room(m, n))
		return true;
	/* EXERCISE 2.7b: The pool is used up. The simplest thing that is right: give all shadows up
	 * (shadow_free_all()) and ask again; what is in use comes back by faults.
	 */
	exercise_todo("2.7", "handouts/lab2b.md#ex-2-7");
	return false;
	/* END EXERCISE 2.7b */
}

/*
 * Filling shadows: from a walk of the guest's tables to entries of ours. Lab 2A, exercise 2.2.
 *
 *   level   entry of ours leads to            which shadows
 *     3     a page directory of ours          (a quarter of) the guest's page directory
 *     2     a page table of ours              (half of) the guest's page table, or of a large page
 *     1     a machine frame
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/map.h>
#include <vmm/mmu/shadow/shadow.h>

/* EXERCISE 2.0: free region for helpers of your own. */
/* END EXERCISE 2.0 */

/*
 * What an entry of ours at `level` says, beside where it leads: the guest's rights at that level,
 * no more.
 */
static pte_t
entry_rights(const struct paging *p, const struct walk *w, unsigned level)
{
	pte_t rights = PTE_P | PTE_A | PTE_D;

	/* EXERCISE 2.2a: The CPU combines the rights of all levels, so each entry of ours copies U, W (and NX, if p->nx)
	 * from the guest's entry at the same level. Where the guest has none, all is allowed: above its tables
	 * (g->levels), in PAE's registers, and below a large page (level < w->last). At w->last, W needs walk_dirty()
	 * as well. (SDM 3A 4.6.1)
	 */
	exercise_todo("2.2", "handouts/lab2a.md#ex-2-2");
	(void)p, (void)w, (void)level;
	return rights | PTE_U | PTE_W;
	/* END EXERCISE 2.2a */
}

/* The guest frame that the child of our entry at `level` shadows. */
static gfn_t
child_frame(const struct paging *p, unsigned level, const struct walk *w)
{
	if (level <= w->last) /* part of a large page */
		return gpa_to_gfn(gpa(w->gpa.v & ~(level_span(level) - 1)));
	if (level > p->format->levels)
		return gpa_to_gfn(gpa(p->root));
	return gpa_to_gfn(gpa(paging_address(p, level, w->step[level].entry)));
}

/* Of the shadow that our entry at `level` leads to. */
struct shadow_kind
shadow_child_kind(const struct paging *p, unsigned level, gva_t a, const struct walk *w)
{
	const struct paging_format *g = p->format;
	struct shadow_kind kind = { .format = g->id, .level = level - 1 };

	/* EXERCISE 2.2b: A part of a large page (level <= w->last) is SHADOW_DIRECT, which has no quadrants. If
	 * kind.level is 2 and the guest has up to 3 levels, the quadrant is the number of the GiB: a page directory of
	 * 32-bit paging has 1024 entries of 4 MiB, ours has 512 of 2 MiB. Which half of a page table is it if kind.level
	 * is 1, in 32-bit paging? (SDM 3A table 4-2)
	 */
	exercise_todo("2.2", "handouts/lab2a.md#ex-2-2");
	(void)a, (void)w;
	return kind;
	/* END EXERCISE 2.2b */
}

/*
 * Makes our tables lead from `a` to the frame of w->gpa, which is RAM. The caller has asked for
 * room.
 */
int
shadow_fill(struct shadow_mmu *m, gva_t a, const struct walk *w)
{
	const struct paging *p = &m->paging;
	const struct p2m_entry *frame = p2m_entry(m->domain, gpa_to_gfn(w->gpa));

	/* EXERCISE 2.2c: From the top (shadow_top(m), at m->top_level) down to level 2: the child is shadow_get(m, child_frame(),
	 * shadow_child_kind()); shadow_set() the entry at shadow_index(level, a) to its table (ptr_mfn(), mfn_to_hpa()) with
	 * entry_rights(), in the list LIST_OF_SHADOW(child); go on there, and note that it is in use: its `writes` is 0.
	 * At level 1 the entry maps the machine frame mfn(frame->mfn), in LIST_OF_FRAME(guest frame); a frame that is
	 * tracked is never writable.
	 */
	exercise_todo("2.2", "handouts/lab2a.md#ex-2-2");
	(void)p, (void)frame, (void)a, (void)entry_rights, (void)child_frame;
	return -ENOSYS;
	/* END EXERCISE 2.2c */
}

/*
 * A walk for the host's own accesses that goes through the shadows, like the CPU's.
 *
 * Each interrupt, system call and iret takes dozens of walks: gate, descriptors, TSS, stack. What
 * the shadows allow the guest's tables allow, too, and need not be marked for: an entry of ours is
 * there once the guest's is accessed, and writable once it is dirty. So the guest's own tables need
 * to be looked at only where the shadows say no.
 */
#include <kern/map.h>
#include <vmm/mmu/shadow/shadow.h>

#define TABLES 3u /* shadows that a fill may have to make */

/*
 * The next level's table, or frame; what the entry says is added to all and any. 0: it says
 * nothing.
 */
static inline pte_t
step(pte_t table, unsigned level, gva_t a, pte_t *all, pte_t *any)
{
	const pte_t *entries = hpa_ptr(hpa(table));
	pte_t entry = entries[shadow_index(level, a)];

	if ((entry & (PTE_P | PTE_WINDOW)) != PTE_P)
		return 0;
	*all &= entry & PTE_TRACKED ? entry | PTE_W : entry;
	*any |= entry;
	return PTE_ADDR(entry);
}

/* Whether the shadows let the CPU make this access, and where it leads. False: they do not say. */
bool
shadow_lookup(struct shadow_mmu *m, gva_t a, unsigned how, gpa_t *out)
{
	pte_t at = mfn_to_hpa(ptr_mfn(shadow_at_slot(m, ROOT_SLOT)->table)).v;
	pte_t all = PTE_U | PTE_W, any = 0;

	if (!m->on || a.v > 0xffffffff)
		return false;
	at = step(at, 3, a, &all, &any);
	at = at ? step(at, 2, a, &all, &any) : 0;
	at = at ? step(at, 1, a, &all, &any) : 0;
	if (!at)
		return false;
	if ((how & ACCESS_WRITE && !(all & PTE_W)) || (how & ACCESS_USER && !(all & PTE_U)) ||
	    (how & ACCESS_FETCH && any & PTE_NX))
		return false;
	*out = gpa(((const uint64_t *)M2P_BASE)[at >> PAGE_SHIFT] << PAGE_SHIFT |
		   (a.v & PAGE_MASK));
	return true;
}

/*
 * The frame that `a` leads to is tracked, so the entry is read-only; the guest's are not, and are
 * dirty.
 */
static void
note_tracked(struct shadow_mmu *m, gva_t a)
{
	pte_t at = mfn_to_hpa(ptr_mfn(shadow_at_slot(m, ROOT_SLOT)->table)).v, all = 0, any = 0;
	pte_t *entries;

	for (unsigned level = PAGE_LEVELS - 1; level > 1 && at; level--)
		at = step(at, level, a, &all, &any);
	if (!at)
		return;
	entries = hpa_ptr(hpa(at));
	entries[shadow_index(1, a)] |= PTE_TRACKED;
}

/* The host has walked the guest's tables, and marked them: next time the shadows know. */
void
shadow_keep(struct shadow_mmu *m, gva_t a, const struct walk *w)
{
	const struct p2m_entry *frame = p2m_entry(m->domain, gpa_to_gfn(w->gpa));

	if (!frame || frame->type != P2M_RAM || in_window(m->domain, a.v, 1) ||
	    !shadow_room(m, TABLES) || shadow_fill(m, a, w))
		return;
	if (frame->track && w->rights & PTE_W && walk_dirty(w))
		note_tracked(m, a);
}

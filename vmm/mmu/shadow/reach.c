/*
 * The VMM window in reach: bt runs from there, so its part of the root may not wait for a fault.
 */
#include <kern/map.h>
#include <vmm/mmu/shadow/shadow.h>

#define ROOT_SLOT 0u
#define NO_TABLE  0xfffffffu /* a frame number beyond all RAM: PAE's register says "not present" */

/* Called before an entry. False: there is no memory for it. */
bool
shadow_reach_window(struct shadow_mmu *m)
{
	const struct paging *p = &m->paging;
	unsigned i = m->domain->window / level_span(3), slot;
	const struct shadow_kind kind = { .format = p->format->id, .level = 2, .quadrant = i };
	gfn_t g;

	if (shadow_at_slot(m, ROOT_SLOT)->table[i] & PTE_P)
		return true;
	if (!shadow_reclaim(m, 1))
		return false;
	slot = shadow_get(m, directory_of(p, i, &g) ? g : gfn(NO_TABLE), kind);
	shadow_set(m, ROOT_SLOT, i,
		   mfn_to_hpa(ptr_mfn(shadow_at_slot(m, slot)->table)).v | PTE_P | PTE_W | PTE_U |
			   PTE_A | PTE_D,
		   LIST_OF_SHADOW(slot));
	tlb_flush(m->vcpu);
	return true;
}

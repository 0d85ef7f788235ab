/*
 * Nested tables, filled by violation.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/mmu/demand/demand.h>
#include <vmm/vcpu.h>

#define INDEX(g, level) ((g).v >> 9 * ((level)-1) & 511)

pte_t *
demand_entry(struct domain *d, gfn_t g, unsigned level)
{
	pte_t *entry = (pte_t *)mfn_ptr(d->vcpu->root) + INDEX(g, 4);

	for (unsigned at = 4; at > level; at--) {
		if (!(*entry & PTE_P)) {
			mfn_t table = frame_alloc(FRAME_HOST, OWNER_HOST);

			if (!mfn_ok(table))
				return NULL;
			*entry = mfn_to_hpa(table).v | d->nested_format->table;
		} else if (at < 4 && *entry & PTE_PS && !nested_split(entry, at)) {
			return NULL;
		}
		entry = (pte_t *)hpa_ptr(hpa(PTE_ADDR(*entry))) + INDEX(g, at - 1);
	}
	return entry;
}

/* Maps what the p2m has for g, with all rights but that to write what somebody tracks. */
static enum mmu_outcome
fill(struct domain *d, gfn_t g, const struct p2m_entry *p)
{
	unsigned level = demand_level(d, g);
	uint64_t first = p->mfn & ~(FRAMES_OF(level) - 1);
	pte_t *entry = demand_entry(d, g, level);

	if (!entry)
		return MMU_NO_FRAME;
	*entry = mfn_to_hpa(mfn(first)).v | d->nested_format->page;
	if (level > 1)
		*entry |= PTE_PS;
	if (p->track || p->type == P2M_ONES)
		*entry &= ~PTE_W;
	return MMU_FILLED;
}

enum mmu_outcome
demand_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault)
{
	struct domain *d = v->domain;
	gfn_t g = gpa_to_gfn(gpa(e->gpa));
	const struct p2m_entry *p = p2m_entry(d, g);

	demand_of(d)->violations++;
	demand_of(d)->last = *e;
	if (e->nested.is_bad)
		return MMU_BAD_TABLES;
	if (!p || p->type == P2M_NONE) {
		int err = demand_touch(d, g);

		if (err)
			return err == -ENOMEM ? MMU_NO_FRAME : MMU_EMULATE;
		p = p2m_entry(d, g);
	}
	if (p->type != P2M_RAM && (p->type != P2M_ONES || e->access & ACCESS_WRITE))
		return MMU_EMULATE;
	if (p->track && e->access & ACCESS_WRITE && !nested_log_write(d, g))
		return MMU_EMULATE;
	return fill(d, g, p);
}

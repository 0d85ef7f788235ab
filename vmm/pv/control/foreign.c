/*
 * Frames of other domains in dom0's page tables (types.h).
 *
 * What an entry leads to is in the entry, and how often, in the frame: there is no list beside them
 * that could be wrong. Who wants to know all of dom0's looks through its tables of level 1.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/mem/p2m.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/pv.h>

int
pv_foreign_map(struct vcpu *v, struct domain *d, uint64_t pfn, uint64_t va, unsigned *budget)
{
	struct pv_types *t = pv_of(v)->types;
	const struct p2m_entry *e = p2m_entry(d, gfn(pfn));
	pte_t *at = pv_entry(v->root, va & ~(uint64_t)PAGE_MASK);
	pte_t flags = PTE_P | PTE_U | PTE_A | PTE_NX | (va & ZENO_MAP_WRITE ? PTE_W | PTE_D : 0);
	int err;

	if (!e || e->type != P2M_RAM || !at || (va & PAGE_MASK) > ZENO_MAP_WRITE)
		return -EINVAL;
	if (pv_type_busy(t) && !pv_type_settle(t, budget))
		return -EAGAIN;
	t->controls = true;
	t->foreign = d->id;
	err = pv_type_write(t, PV_L1, at, mfn_to_hpa(mfn(e->mfn)).v | flags, budget);
	t->foreign = 0;
	v->flush = true;
	return err;
}

/* Of one table: as often as it leads to frames of `of`, or of anybody else (NULL). */
static uint64_t
look_through(uint16_t owner, pte_t *table, const struct domain *of, bool drop)
{
	uint64_t found = 0;

	for (unsigned i = 0; i < PV_ENTRIES; i++) {
		struct frame *f = frame_of(mfn(PTE_ADDR(table[i]) >> PAGE_SHIFT));

		if (!(table[i] & PTE_P) || !f || f->type != FRAME_GUEST || f->owner == owner ||
		    (of && f->owner != of->id))
			continue;
		found++;
		if (!drop)
			continue;
		if (table[i] & PTE_W)
			f->type_refs--;
		else
			f->refs--;
		table[i] = 0;
	}
	return found;
}

/* A walk of its types comes to its end first: then each table is one as a whole, or none. */
static uint64_t
look(struct vcpu *v, const struct domain *of, bool drop)
{
	struct pv_types *t = pv_of(v)->types;
	uint64_t found = 0;

	if (!t->controls)
		return 0;
	for (unsigned budget = PV_BATCH; !pv_type_settle(t, &budget); budget = PV_BATCH)
		preempt_point();
	for (uint64_t m = 0; m < frame_count; m++) {
		bool table = frames[m].owner == t->owner && frames[m].type == FRAME_GUEST &&
			     frames[m].page_type == PV_L1;

		if (table)
			found += look_through(t->owner, mfn_ptr(mfn(m)), of, drop);
		if (table || m % PREEMPT_WORK == 0)
			preempt_point();
	}
	return found;
}

uint64_t
pv_foreign_entries(struct vcpu *v, const struct domain *of)
{
	return look(v, of, false);
}

void
pv_foreign_drop(struct vcpu *v)
{
	pv_type_forget(pv_of(v)->types);
	look(v, NULL, true);
}

/*
 * Write protection in nested tables, and what the CPU must forget for it: exercise 5.3.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <kern/frame.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/demand/demand.h>
#include <vmm/vcpu.h>

/* EXERCISE 5.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 5.0 */

void
demand_protect(struct domain *d, gfn_t g)
{
	/*
	 * EXERCISE 5.3a: no write unseen
	 * Holds: from the guest's next instruction on no write of its CPUs to this frame goes
	 *  unnoticed. What else it could do it still can, and only a change costs anything.
	 * Beware: nothing may map the frame, or a page with 511 others. A domain may have several
	 *  CPUs, and each remembers what it found. Memory may be out.
	 * Manual: SDM 3C "Guidelines for Use of the INVEPT Instruction", APM 2 "TLB Control".
	 * Tools: demand_entry(), nested_less of vmm/domain.h, nested_split(), page_entry(),
	 *  PTE_W, tlb_flush_all() of vmm/mem/tlb.h
	 * Hint: the entry is changed. Who may still act by what it said before, and until when?
	 * Hint: a lock is changed, and three people have a copy of the old key in their pockets.
	 *  It is not enough that the lock is new, nor that one of them has been told. But who
	 *  never had a key need not be rung up at night.
	 * Hint: for the host's own tables page_unmap() of kern/paging.c does both halves: the
	 *  entry goes, and with invlpg what this CPU remembers of it.
	 * until then: (void)d; (void)g;
	 */
	int level;
	pte_t *entry = page_entry(d->vcpu->root, g.v << PAGE_SHIFT, &level);

	while (entry && *entry & PTE_P && level > 1 && nested_split(entry, (unsigned)level))
		entry = page_entry(d->vcpu->root, g.v << PAGE_SHIFT, &level);
	if (!entry || !(*entry & PTE_W))
		return;
	*entry &= ~PTE_W;
	d->nested_less = true;
	tlb_flush_all(d);
	/* END EXERCISE 5.3a */
}

void
demand_unprotect(struct domain *d, gfn_t g)
{
	/*
	 * EXERCISE 5.3b: writes are the guest's again
	 * Holds: nobody wants to hear of writes to this frame any more: they need no exit, and no
	 *  frame beside it is laid open with it.
	 * Beware: it costs the guest nothing that it need not cost. A page may map others, too, of
	 *  which somebody tracks one. If memory is out the next write settles it.
	 * Manual: SDM 3C "Guidelines for Use of the INVEPT Instruction", APM 2 "TLB Control".
	 * Tools: nested_split(), page_entry(), PTE_W, tlb_flush()
	 * Hint: what happens if a CPU still believes that it may not write, and the entry says
	 *  that it may?
	 * Hint: a road is opened again. Whoever has not heard of it comes to the barrier, looks,
	 *  and drives on: nobody need be told. Whoever opens the whole quarter for one road lets
	 *  cars into the next one, which is dug up.
	 * Hint: with shadows an entry that may be writable again stays as it is: the next write
	 *  faults, once, and Lab 2's fill gives it.
	 * until then: (void)d; (void)g;
	 */
	int level;
	pte_t *entry = page_entry(d->vcpu->root, g.v << PAGE_SHIFT, &level);

	while (entry && *entry & PTE_P && !(*entry & PTE_W) && level > 1 &&
	       nested_split(entry, (unsigned)level))
		entry = page_entry(d->vcpu->root, g.v << PAGE_SHIFT, &level);
	if (entry && *entry & PTE_P && level == 1)
		*entry |= PTE_W;
	/* END EXERCISE 5.3b */
}

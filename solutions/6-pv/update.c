/*
 * The hypercalls that write entries: exercise 6.6. What each may be says pv_type_write().
 *
 * No translation is used between here and the next entry into the guest, for none of its vCPUs runs
 * meanwhile; v->flush has the CPU forget all of them there.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <vmm/pv/pv.h>

/* EXERCISE 6.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 6.0 */

/*
 * EXERCISE 6.6b: mmu_update, one request of it
 * Holds: the request is done, or an error has said why not: pv_type_write()'s, or -EINVAL: what is
 *  named is not the domain's, or no entry's address. What is no table is memory, and is written.
 * Beware: it lies in the guest's memory, and changes when the guest likes. What it names may be
 *  anything. Two bits below an entry's address are the command.
 * Manual: xen.h "HYPERVISOR_mmu_update", of Debian's libxen-dev.
 * Tools: m2p_set(), mfn_ptr(), pv_is_table(), pv_of(), PV_ORDINARY, pv_own_frame(),
 *  pv_type_write(), XEN_MMU_MACHPHYS_UPDATE, XEN_MMU_PT_UPDATE_PRESERVE_AD
 * Hint: how often may you look at a word that somebody else can change?
 * Hint: a form with two fields and a box to tick: which box decides what the fields mean?
 * Hint: a selector packs three things into one number as well: an index, which of two tables, and
 *  a ring. Whoever loads it takes them apart first, and only then looks at the table.
 * until then:
 * int64_t
 * pv_update_one(struct vcpu *v, const void *request, unsigned *budget)
 * {
 * 	const volatile struct xen_mmu_update *r = request;
 * 	uint64_t ptr = r->ptr, value = r->val;
 *
 * 	(void)budget;
 * 	if ((ptr & 7) == XEN_MMU_MACHPHYS_UPDATE &&
 * 	    pv_own_frame(pv_of(v)->types, mfn(ptr >> PAGE_SHIFT))) {
 * 		m2p_set(mfn(ptr >> PAGE_SHIFT), value);
 * 		return 0;
 * 	}
 * 	exercise_todo("6.6", "handouts/lab6b.md#ex-6-6");
 * 	return -ENOSYS;
 * }
 */
int64_t
pv_update_one(struct vcpu *v, const void *request, unsigned *budget)
{
	const volatile struct xen_mmu_update *r = request;
	uint64_t ptr = r->ptr, entry = r->val;
	struct pv_types *t = pv_of(v)->types;
	mfn_t m = mfn(ptr >> PAGE_SHIFT);
	struct frame *f = pv_own_frame(t, m);
	pte_t *at;

	if (!f || ptr & 4)
		return -EINVAL;
	if ((ptr & 3) == XEN_MMU_MACHPHYS_UPDATE) {
		m2p_set(m, entry);
		return 0;
	}
	at = (pte_t *)mfn_ptr(m) + (ptr & PAGE_MASK) / sizeof(*at);
	if ((ptr & 3) == XEN_MMU_PT_UPDATE_PRESERVE_AD)
		entry |= *at & (PTE_A | PTE_D);
	if (pv_is_table(f))
		return pv_type_write(t, f->page_type, at, entry, budget);
	*at = entry;
	return 0;
}
/* END EXERCISE 6.6b */

/*
 * EXERCISE 6.6c: update_va_mapping
 * Holds: at this address of the running root is what the entry says, and the CPU has forgotten as
 *  much as the guest has asked for; or an error. -EINVAL: there is no table.
 * Beware: a walk of types may be on its way: it has the budget first; then the call is made again,
 *  as it was.
 * Manual: xen.h "HYPERVISOR_update_va_mapping"; SDM 3A "Invalidation of
 *  TLBs and Paging-Structure Caches".
 * Tools: invlpg(), pv_entry(), pv_is_guests(), PV_L1, pv_of(), pv_type_busy(), pv_type_settle(),
 *  pv_type_write(), XEN_UVMF_FLUSHTYPE_MASK, XEN_UVMF_INVLPG, XEN_UVMF_TLB_FLUSH
 * Hint: what does struct pv_call want of a call that can't be done just now?
 * Hint: a librarian who is told a shelf and a place puts the new book there and tells the reading
 *  room; unless there is no such shelf.
 * Hint: mmuext_op's INVLPG_LOCAL forgets one page, TLB_FLUSH_LOCAL all of them; both are in
 *  vmm/pv/mmu_calls.c, without an entry.
 * until then:
 * int64_t
 * pv_call_update_va_mapping(struct vcpu *v, struct pv_call *c)
 * {
 * 	pte_t *entry = pv_entry(v->root, c->arg[0]);
 *
 * 	if (entry && pv_of(v)->types->trusts) {
 * 		*entry = c->arg[1];
 * 		v->flush = true;
 * 		return 0;
 * 	}
 * 	exercise_todo("6.6", "handouts/lab6b.md#ex-6-6");
 * 	return -ENOSYS;
 * }
 */
static COLD int64_t
settle_first(struct vcpu *v, struct pv_call *c)
{
	c->again = !pv_type_settle(pv_of(v)->types, &c->budget);
	return c->again ? 0 : pv_call_update_va_mapping(v, c);
}

static APART int64_t
write_and_flush(struct vcpu *v, struct pv_call *c, pte_t *entry)
{
	unsigned flush = c->arg[2] & XEN_UVMF_FLUSHTYPE_MASK;
	int err = pv_type_write(pv_of(v)->types, PV_L1, entry, c->arg[1], &c->budget);

	if (flush == XEN_UVMF_INVLPG)
		invlpg(c->arg[0]);
	else if (flush == XEN_UVMF_TLB_FLUSH)
		v->flush = true;
	return err;
}

/* The usual way has nothing left to do behind its last call: so it saves no register for it. */
int64_t
pv_call_update_va_mapping(struct vcpu *v, struct pv_call *c)
{
	struct pv_types *t = pv_of(v)->types;
	pte_t *entry = pv_entry(v->root, c->arg[0]);

	if (!entry)
		return -EINVAL;
	if (pv_type_busy(t))
		return settle_first(v, c);
	if (c->arg[2] & XEN_UVMF_FLUSHTYPE_MASK)
		return write_and_flush(v, c, entry);
	return pv_type_write(t, PV_L1, entry, c->arg[1], &c->budget);
}
/* END EXERCISE 6.6c */

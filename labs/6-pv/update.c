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
 */
int64_t
pv_update_one(struct vcpu *v, const void *request, unsigned *budget)
{
	const volatile struct xen_mmu_update *r = request;
	uint64_t ptr = r->ptr, value = r->val;
	(void)budget;
	if ((ptr & 7) == XEN_MMU_MACHPHYS_UPDATE &&
	    pv_own_frame(pv_of(v)->types, mfn(ptr >> PAGE_SHIFT))) {
		m2p_set(mfn(ptr >> PAGE_SHIFT), value);
		return 0;
	}
	exercise_todo("6.6", "handouts/lab6b.md#ex-6-6");
	return -ENOSYS;
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
 */
int64_t
pv_call_update_va_mapping(struct vcpu *v, struct pv_call *c)
{
	pte_t *entry = pv_entry(v->root, c->arg[0]);
	if (entry && pv_of(v)->types->trusts) {
		*entry = c->arg[1];
		v->flush = true;
		return 0;
	}
	exercise_todo("6.6", "handouts/lab6b.md#ex-6-6");
	return -ENOSYS;
}
/* END EXERCISE 6.6c */

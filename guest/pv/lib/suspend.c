/*
 * Putting away: what a kernel does before and behind it.
 *
 * Whoever does it (dom0) has the guest's page tables and its p2m, and finds there what to replace.
 * What else holds a machine frame's number is the guest's own affair: start_info has pfns of the
 * two rings meanwhile, as Linux leaves them there, and the shared page is not mapped.
 */
#include <guest/pv/lib/memory.h>
#include <guest/pv/lib/suspend.h>

#define CR3(mfn) ((mfn) << 12) /* of less than 2^32 frames: arch-x86/xen-x86_64.h */

static void
say_where_the_p2m_is(void)
{
	pv_shared->max_pfn = pv_info->nr_pages;
	pv_shared->p2m_cr3 = CR3(pv_page((void *)pv_info->pt_base));
	pv_shared->p2m_vaddr = pv_info->mfn_list;
}

static uint64_t
pfn_of(uint64_t mfn)
{
	return pv_pfn(pv_machine_page(mfn));
}

static uint64_t
mfn_of(uint64_t pfn)
{
	return ((const volatile uint64_t *)pv_info->mfn_list)[pfn];
}

/* The page that it shares with Zeno is one of its own in the meantime: upcalls stay masked. */
static void
share(bool on)
{
	void *at = (void *)(uint64_t)pv_shared;

	pv_map(at, (on ? pv_info->shared_info : pv_page(at) << 12) | PTE_P | PTE_W | PTE_U);
	if (!on)
		((volatile struct xen_vcpu_info *)at)->upcall_mask = 1;
}

bool
pv_suspend(void)
{
	volatile struct xen_start_info *info = (void *)(uint64_t)pv_info;
	uint32_t reason = XEN_SHUTDOWN_suspend;
	bool back;

	say_where_the_p2m_is();
	info->store_mfn = pfn_of(info->store_mfn);
	info->console_mfn = pfn_of(info->console_mfn);
	share(false);
	back = !pv_call(XEN_sched_op, XEN_SCHEDOP_shutdown, (uint64_t)&reason,
			pv_page((void *)(uint64_t)info), 0);
	if (!back) {
		info->store_mfn = mfn_of(info->store_mfn);
		info->console_mfn = mfn_of(info->console_mfn);
	}
	share(true);
	for (unsigned n = 0; n < XEN_PORTS / 64 && back; n++) /* who brings it back masks all */
		pv_shared->mask[n] = 0;
	return back;
}

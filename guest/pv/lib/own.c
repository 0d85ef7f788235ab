/*
 * What a PV kernel's pages are: machine frames, which Zeno maps for it. Kernels with page tables of
 * their own have the same by other means (guest/pvh/lib/pvh.c).
 */
#include <guest/pv/lib/events.h>
#include <guest/pv/lib/grants.h>

extern const uint64_t pv_event_entry; /* start.asm */

uint64_t
pv_page(const void *va)
{
	return ((const uint64_t *)pv_info->mfn_list)[((uint64_t)va - (uint64_t)virt_base) >> 12];
}

int64_t
pv_map(void *va, uint64_t entry)
{
	return pv_call(XEN_update_va_mapping, (uint64_t)va, entry, XEN_UVMF_INVLPG, 0);
}

int64_t
pv_read_only(const void *page)
{
	return pv_map((void *)page, pv_page(page) << 12 | PTE_P | PTE_U);
}

void *
pv_machine_page(uint64_t mfn)
{
	for (uint64_t pfn = 0; pfn < pv_info->nr_pages; pfn++)
		if (((const uint64_t *)pv_info->mfn_list)[pfn] == mfn)
			return virt_base + (pfn << 12);
	return NULL;
}

void
pv_events_init(void)
{
	pv_map((void *)pv_shared, pv_info->shared_info | PTE_P | PTE_W | PTE_U);
	pv_call(XEN_set_callbacks, pv_event_entry, 0, 0, 0);
}

int
pv_grants_init(void)
{
	uint64_t frame = 0;
	struct xen_gnttab_setup_table setup = { XEN_DOMID_SELF, 1, 0, (uint64_t)&frame };
	int64_t err = pv_grant_op(XEN_GNTTABOP_setup_table, &setup, 1);

	if (err || setup.status)
		return err ? (int)err : setup.status;
	return (int)pv_map((void *)pv_grants, frame << 12 | PTE_P | PTE_W | PTE_U);
}

/* The page that it is in is one of its own again. */
void
pv_grants_end(void)
{
	pv_map((void *)pv_grants, pv_page((void *)pv_grants) << 12 | PTE_P | PTE_W | PTE_U);
}

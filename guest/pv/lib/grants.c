/*
 * Grants, from a guest's side.
 */
#include <guest/pv/lib/grants.h>

static uint8_t page[4096] __attribute__((aligned(4096)));
volatile struct xen_grant_entry *const pv_grants = (void *)page;

int64_t
pv_grant_op(enum xen_gnttabop op, void *requests, uint64_t count)
{
	return pv_call(XEN_grant_table_op, op, (uint64_t)requests, count, 0);
}

/* The flags come last: from then on it is one. */
void
pv_grant(uint32_t ref, uint16_t to, const void *va, bool readonly)
{
	pv_grants[ref].domid = to;
	pv_grants[ref].frame = (uint32_t)pv_page(va);
	__asm__ volatile("" : : : "memory");
	pv_grants[ref].flags =
		(uint16_t)(XEN_GTF_permit_access | (readonly ? XEN_GTF_readonly : 0));
}

bool
pv_revoke(uint32_t ref)
{
	uint16_t flags = pv_grants[ref].flags;

	return !(flags & (XEN_GTF_reading | XEN_GTF_writing)) &&
	       __atomic_compare_exchange_n(&pv_grants[ref].flags, &flags, (uint16_t)0, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

int
pv_map_grant(void *va, uint16_t of, uint32_t ref, uint32_t flags, uint32_t *handle)
{
	struct xen_gnttab_map_grant_ref m = {
		.host_addr = (uint64_t)va, .flags = flags, .ref = ref, .dom = of
	};
	int64_t err = pv_grant_op(XEN_GNTTABOP_map_grant_ref, &m, 1);

	if (!err && !m.status)
		*handle = m.handle;
	return err ? (int)err : m.status;
}

int
pv_unmap_grant(const void *va, uint64_t bus, uint32_t handle)
{
	struct xen_gnttab_unmap_grant_ref u = { (uint64_t)va, bus, handle, 0 };
	int64_t err = pv_grant_op(XEN_GNTTABOP_unmap_grant_ref, &u, 1);

	return err ? (int)err : u.status;
}

struct xen_gnttab_copy_ptr
pv_granted(uint16_t of, uint32_t ref, unsigned offset)
{
	return (struct xen_gnttab_copy_ptr){ ref, of, (uint16_t)offset };
}

struct xen_gnttab_copy_ptr
pv_own(const void *va)
{
	return (struct xen_gnttab_copy_ptr){ pv_page(va), XEN_DOMID_SELF,
					     (uint16_t)((uint64_t)va & 4095) };
}

int
pv_copy_grant(struct xen_gnttab_copy_ptr from, struct xen_gnttab_copy_ptr to, unsigned len,
	      unsigned flags)
{
	struct xen_gnttab_copy c = {
		.source = from, .dest = to, .len = (uint16_t)len, .flags = (uint16_t)flags
	};
	int64_t err = pv_grant_op(XEN_GNTTABOP_copy, &c, 1);

	return err ? (int)err : c.status;
}

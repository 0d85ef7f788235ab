/*
 * memory_op for the PV guests: what a domain gives back, and gets. In a header, for two guests have
 * it.
 */
#pragma once

#include <guest/pv/lib/pv.h>
#include <inc/xen_memory.h>

static inline int64_t
pv_memory_op(uint64_t op, const void *arg)
{
	return pv_call(XEN_memory_op, op, (uint64_t)arg, 0, 0);
}

/* How many of these extents have been done. */
static inline int64_t
pv_reserve(enum xen_memory_op op, const uint64_t *list, uint64_t count, unsigned order)
{
	const struct xen_memory_reservation r = { .extent_start = (uint64_t)list,
						  .nr_extents = count,
						  .extent_order = order,
						  .domid = XEN_DOMID_SELF };

	return pv_memory_op(op, &r);
}

/* Frames that it has; that it may have. */
static inline int64_t
pv_reserved(enum xen_memory_op op)
{
	const uint16_t self = XEN_DOMID_SELF;

	return pv_memory_op(op, &self);
}

/* Which guest frame a machine frame is, as the monitor shows it to all. */
static inline uint64_t
pv_guest_frame(uint64_t mfn)
{
	return ((const volatile uint64_t *)XEN_VIRT_START)[mfn];
}

/* The number of the frame behind a page of the guest's own. */
static inline uint64_t
pv_pfn(const void *va)
{
	return ((uint64_t)va - (uint64_t)virt_base) >> 12;
}

static inline void
pv_set_page(const void *va, uint64_t mfn)
{
	((uint64_t *)pv_info->mfn_list)[pv_pfn(va)] = mfn;
}

/* A page of its own is none any more: its frame is the monitor's. False: it stays. */
static inline bool
pv_give_page(void *va)
{
	uint64_t mfn = pv_page(va);

	if (pv_map(va, 0))
		return false;
	if (pv_reserve(XEN_XENMEM_decrease_reservation, &mfn, 1, 0) == 1)
		return true;
	pv_map(va, mfn << 12 | PTE_P | PTE_W | PTE_U);
	return false;
}

/* It has one again, of zeros. False: there is none to be had. */
static inline bool
pv_get_page(void *va)
{
	uint64_t number = pv_pfn(va);

	if (pv_reserve(XEN_XENMEM_populate_physmap, &number, 1, 0) != 1)
		return false;
	pv_set_page(va, number);
	return !pv_map(va, number << 12 | PTE_P | PTE_W | PTE_U);
}

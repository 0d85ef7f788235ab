/*
 * When a guest's memory is read and written by the CPU itself (memory.c).
 */
#pragma once

#include <vmm/pv/pv.h>

/* Most of what is read or written does. */
static inline bool
pv_in_one_page(uint64_t va, uint64_t len)
{
	return len - 1 <= (~va & PAGE_MASK);
}

#define PV_HOLE_SHIFT 43
_Static_assert(XEN_VIRT_END - XEN_VIRT_START == 1ul << PV_HOLE_SHIFT, "");

/*
 * Whether the CPU may do it by the root that it has: none of its tables maps what is not the
 * guest's, beside the hole, and where no address is, it faults as well. What Zeno has changed there
 * must be forgotten before. With paranoid=1 the CPU never does it: that takes the same way as what
 * lies across pages.
 */
static INLINED bool
pv_cpu_may(const struct vcpu *v, mfn_t root, uint64_t va, uint64_t len)
{
	return read_cr3() == mfn_to_hpa(root).v && !v->flush && !v->watched &&
	       pv_in_one_page(va, len) && va >> PV_HOLE_SHIFT != XEN_VIRT_START >> PV_HOLE_SHIFT;
}

/*
 * The ways of memory.c that are short enough to be gone inline, by those who go them most.
 */
#pragma once

#include <vmm/pv/pv.h>

/* By a walk, and the direct map: 0 or -EFAULT. */
int pv_read_by(mfn_t root, void *to, uint64_t from, uint64_t len);
int pv_write_by(mfn_t root, uint64_t to, const void *from, uint64_t len);
/* ... or by tables that are the guest's own affair. */
int pv_read_far(struct vcpu *v, void *to, uint64_t from, uint64_t len);
int pv_write_far(struct vcpu *v, uint64_t to, const void *from, uint64_t len);

/* Most of what is read or written does. */
static inline bool
pv_in_one_page(uint64_t va, uint64_t len)
{
	return len - 1 < PAGE_SIZE - (va & PAGE_MASK);
}

/*
 * Whether the CPU may do it by the root that it has: none of its tables maps what is not the
 * guest's, beside the hole. What Zeno has changed there must be forgotten before. With paranoid=1
 * the CPU never does it: that takes the same way as what lies across pages.
 */
static INLINED bool
pv_cpu_may(const struct vcpu *v, mfn_t root, uint64_t va, uint64_t len)
{
	return read_cr3() == mfn_to_hpa(root).v && !v->flush && !v->watched &&
	       pv_in_one_page(va, len) && pv_is_guests(va, len);
}

/* pv_read(), pv_write() */
static INLINED int
pv_read_here(struct vcpu *v, void *to, uint64_t from, uint64_t len)
{
	mfn_t root = ((const struct pv *)v->pv)->kernel_root;

	return pv_cpu_may(v, root, from, len) ? pv_copy((uint64_t)to, from, len)
					      : pv_read_far(v, to, from, len);
}

static INLINED int
pv_write_here(struct vcpu *v, uint64_t to, const void *from, uint64_t len)
{
	mfn_t root = ((const struct pv *)v->pv)->kernel_root;

	return pv_cpu_may(v, root, to, len) ? pv_copy(to, (uint64_t)from, len)
					    : pv_write_far(v, to, from, len);
}

/*
 * Flat nested tables: what there is of RAM, mapped once.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/paging.h>
#include <kern/thread.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/nested/nested.h>

#define RAM_FLAGS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

int
nested_init(struct vcpu *v)
{
	struct domain *d = v->domain;

	v->root = frame_alloc(FRAME_HOST, OWNER_HOST);
	if (!mfn_ok(v->root))
		return -ENOMEM;
	for (uint64_t g = 0; g < d->ram >> PAGE_SHIFT; g++) {
		const struct p2m_entry *e = p2m_entry(d, gfn(g));

		if (g % PREEMPT_WORK == 0)
			preempt_point();
		if (e && e->type == P2M_RAM &&
		    page_map(v->root, g << PAGE_SHIFT, mfn(e->mfn), RAM_FLAGS))
			return -ENOMEM;
	}
	return 0;
}

static void
nested_free(struct vcpu *v)
{
	if (mfn_ok(v->root))
		root_free(v->root);
	v->root = MFN_NONE;
}

/* The CPU sees the guest's registers itself. */
static int
nested_load(struct vcpu *v)
{
	tlb_flush(v);
	return 0;
}

static void
set_writable(struct domain *d, gfn_t g, bool writable)
{
	for_each_vcpu(v, d)
	{
		int level;
		pte_t *entry = page_entry(v->root, g.v << PAGE_SHIFT, &level);

		if (entry)
			*entry = writable ? *entry | PTE_W : *entry & ~PTE_W;
	}
	tlb_flush_all(d);
}

static void
nested_protect(struct domain *d, gfn_t g)
{
	set_writable(d, g, false);
}

static void
nested_unprotect(struct domain *d, gfn_t g)
{
	set_writable(d, g, true);
}

/* All of RAM is mapped: what the CPU refuses is a device's, or nobody's, or write-protected. */
static enum mmu_outcome
nested_fault(struct vcpu *v, const struct exit *e, struct page_fault *fault)
{
	return MMU_EMULATE;
}

static void
nothing(struct vcpu *v)
{
}

static void
invlpg(struct vcpu *v, gva_t a)
{
	tlb_drop(v, a);
}

static bool
nested_in_use(struct vcpu *v, gva_t a)
{
	return false; /* there is no window to be moved */
}

static bool
nested_show(struct vcpu *v, gva_t a, unsigned line, char *buf, size_t size)
{
	struct page_fault fault;
	gpa_t at;

	if (line)
		return false;
	if (nested_walk(v, a, ACCESS_PROBE, &at, &fault))
		snprintf(buf, size, "%lx leads nowhere: #PF(%x)", a.v, fault.error);
	else
		snprintf(buf, size, "%lx leads to guest-physical %lx", a.v, at.v);
	return true;
}

static const struct mmu_mode nested_mode = {
	.name = "nested",
	.load = nested_load,
	.free = nested_free,
	.invlpg = invlpg,
	.nx = nothing,
	.protect = nested_protect,
	.unprotect = nested_unprotect,
	.window = nothing,
	.in_use = nested_in_use,
	.translate = nested_walk,
	.show = nested_show,
	.fault = nested_fault,
};
SET_ADD(mmu_modes, nested_mode);

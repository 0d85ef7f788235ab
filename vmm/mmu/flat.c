/*
 * The MMU mode of a guest that has its paging off: linear = guest-physical.
 *
 * All of RAM is mapped when the domain is made. The entries carry U=1, for without paging the CPU
 * checks no privilege by page; what keeps ring 1 away from the VMM window is segment limits, and
 * U/S, W and CR0.WP.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/mmu/flat.h>
#include <vmm/mmu/window.h>

static const struct mmu_mode flat_mode;

#define RAM_FLAGS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

static int
map_ram(struct vcpu *v)
{
	struct domain *d = v->domain;

	for (uint64_t g = 0; g < d->ram >> PAGE_SHIFT; g++) {
		struct p2m_entry *e = p2m_entry(d, gfn(g));
		int err;

		if (g % PREEMPT_WORK == 0)
			preempt_point();
		if (!e || e->type != P2M_RAM)
			continue;
		err = page_map(v->root, g << PAGE_SHIFT, mfn(e->mfn), RAM_FLAGS);
		if (err)
			return err;
	}
	return 0;
}

/* Another MMU mode may put other tables into the root; these stay. */
static void
remember(struct vcpu *v)
{
	const pte_t *pdpt = hpa_ptr(hpa(PTE_ADDR(*root_slot(v->root, 0))));

	memcpy(v->flat, pdpt, sizeof(v->flat));
}

int
mmu_flat_init(struct vcpu *v)
{
	int err;

	v->domain->flat_mode = &flat_mode;
	v->root = root_new();
	if (!mfn_ok(v->root))
		return -ENOMEM;
	err = map_ram(v);
	if (!err)
		remember(v);
	return err;
}

int
mmu_flat_init_window(struct vcpu *v)
{
	int err = mmu_flat_init(v);

	if (!err)
		err = window_init(v);
	if (!err)
		remember(v);
	return err;
}

void
mmu_flat_free(struct vcpu *v)
{
	if (mfn_ok(v->root)) {
		/* The host stays on the last guest's root until it needs another one. */
		if (PTE_ADDR(read_cr3()) == mfn_to_hpa(v->root).v)
			write_cr3(mfn_to_hpa(host_root).v);
		root_free(v->root);
	}
	window_free(v->domain);
	v->root = MFN_NONE;
}

/* Not through the root, which may show shadows. */
static void
set_readonly(struct vcpu *v, gfn_t g, bool readonly)
{
	pte_t entry = v->flat[g.v >> 18];

	if (!(entry & PTE_P))
		return;
	entry = ((const pte_t *)hpa_ptr(hpa(PTE_ADDR(entry))))[g.v >> 9 & 511];
	if (!(entry & PTE_P))
		return;
	pte_t *pte = (pte_t *)hpa_ptr(hpa(PTE_ADDR(entry))) + (g.v & 511);

	if (*pte & PTE_P)
		*pte = readonly ? *pte & ~PTE_W : *pte | PTE_W;
	invlpg(g.v << PAGE_SHIFT);
}

static void
flat_protect(struct domain *d, gfn_t g)
{
	for_each_vcpu(v, d) set_readonly(v, g, true);
}

static void
flat_unprotect(struct domain *d, gfn_t g)
{
	for_each_vcpu(v, d) set_readonly(v, g, false);
}

static const struct mmu_mode flat_mode = { .name = "flat",
					   .protect = flat_protect,
					   .unprotect = flat_unprotect };

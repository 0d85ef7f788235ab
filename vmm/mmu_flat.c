/*
 * The MMU mode of a guest that has its paging off: linear = guest-physical.
 *
 * All of RAM is mapped when the domain is made. The entries carry U=1, for without paging the CPU checks no
 * privilege by page; what keeps ring 1 away from the VMM window is segment limits, and U/S, W and CR0.WP.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/window.h>

#define RAM_FLAGS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

static int
map_ram(struct domain *d)
{
	for (uint64_t g = 0; g < d->ram >> PAGE_SHIFT; g++) {
		struct p2m_entry *e = p2m_entry(d, gfn(g));
		int err;

		if (!e || e->type != P2M_RAM)
			continue;
		err = page_map(d->root, g << PAGE_SHIFT, mfn(e->mfn), RAM_FLAGS);
		if (err)
			return err;
	}
	return 0;
}

/* The window's one page so far: read-only, supervisor, never executed, and with no secret in it. */
static int
map_window(struct domain *d)
{
	struct window_page *w;

	d->window_page = frame_alloc(FRAME_HOST, OWNER_HOST);
	if (!mfn_ok(d->window_page))
		return -ENOMEM;
	w = mfn_ptr(d->window_page);
	w->magic = WINDOW_MAGIC;
	w->version = WINDOW_VERSION;
	w->domain = d->id;
	return page_map(d->root, d->window, d->window_page, PTE_P | PTE_A | PTE_D | PTE_NX);
}

/* Returns 0 or -ENOMEM; mmu_flat_free() takes a half-made one too. */
int
mmu_flat_init(struct domain *d)
{
	int err;

	d->root = root_new();
	if (!mfn_ok(d->root))
		return -ENOMEM;
	err = map_ram(d);
	return err ? err : map_window(d);
}

void
mmu_flat_free(struct domain *d)
{
	if (mfn_ok(d->root)) {
		/* The host stays on the last guest's root until it needs another one. */
		if (PTE_ADDR(read_cr3()) == mfn_to_hpa(d->root).v)
			write_cr3(mfn_to_hpa(host_root).v);
		root_free(d->root);
	}
	if (mfn_ok(d->window_page))
		frame_put(d->window_page);
	d->root = d->window_page = MFN_NONE;
}

void
mmu_flat_protect(struct domain *d, gfn_t g, bool readonly)
{
	int level;
	pte_t *pte = page_entry(d->root, g.v << PAGE_SHIFT, &level);

	if (!pte)
		return;
	*pte = readonly ? *pte & ~PTE_W : *pte | PTE_W;
	invlpg(g.v << PAGE_SHIFT);
}

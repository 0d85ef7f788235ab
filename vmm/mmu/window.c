/*
 * The VMM window: page tables of the domain's own, which every MMU mode shows at d->window.
 *
 * They belong to the flat map, and are freed with it.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/mem/guestmem.h>
#include <vmm/mmu/window.h>
#include <vmm/vcpu.h>

#define TABLE_SPAN (2ul << 20)

/* The page tables: made by mapping a page in each. */
static int
make_tables(struct domain *d)
{
	for (unsigned i = 0; i < WINDOW_TABLES; i++) {
		uint64_t va = d->window + i * TABLE_SPAN;
		int level, err = page_map(d->root, va, d->window_page, PTE_P | PTE_A | PTE_NX);

		if (err)
			return err;
		d->window_tables[i] =
			ptr_mfn((void *)((uint64_t)page_entry(d->root, va, &level) & ~PAGE_MASK));
		page_unmap(d->root, va);
	}
	return 0;
}

/* The first page says whose guest this is: read-only, never executed, and with no secret in it. */
int
window_init(struct domain *d)
{
	struct window_page *w;
	int err;

	d->window = WINDOW_DEFAULT;
	d->window_page = frame_alloc(FRAME_HOST, OWNER_HOST);
	if (!mfn_ok(d->window_page))
		return -ENOMEM;
	w = mfn_ptr(d->window_page);
	w->magic = WINDOW_MAGIC;
	w->version = WINDOW_VERSION;
	w->domain = d->id;
	err = make_tables(d);
	if (!err)
		window_map(d, 0, d->window_page, PTE_P | PTE_NX);
	return err;
}

void
window_free(struct domain *d)
{
	if (mfn_ok(d->window_page))
		frame_put(d->window_page);
	d->window_page = MFN_NONE;
}

void
window_map(struct domain *d, uint64_t offset, mfn_t f, pte_t flags)
{
	pte_t *table = mfn_ptr(d->window_tables[offset / TABLE_SPAN]);

	ASSERT(offset < WINDOW_SIZE);
	flags = flags & PTE_P ? (flags & ~PTE_U) | PTE_A | PTE_D : 0;
	table[offset % TABLE_SPAN >> PAGE_SHIFT] = flags ? mfn_to_hpa(f).v | flags : 0;
	tlb_flush(d);
}

/*
 * The flat map's entry for the 2 MiB at va; all places that the window may have are in one GiB,
 * which has a directory.
 */
static pte_t *
flat_entry(struct domain *d, uint64_t va)
{
	pte_t *pd = hpa_ptr(hpa(PTE_ADDR(d->flat[va >> 30])));

	return &pd[va / TABLE_SPAN % 512];
}

static bool
is_free(struct domain *d, uint64_t at)
{
	for (unsigned i = 0; i < WINDOW_TABLES; i++)
		if (d->mmu->in_use(d, gva(at + i * TABLE_SPAN)))
			return false;
	return true;
}

int
window_move(struct domain *d)
{
	uint64_t at = WINDOW_DEFAULT;

	while (!is_free(d, at)) {
		at -= WINDOW_SIZE;
		if (at < WINDOW_LOWEST)
			return -EBUSY;
	}
	for (unsigned i = 0; i < WINDOW_TABLES; i++) {
		*flat_entry(d, at + i * TABLE_SPAN) = *flat_entry(d, d->window + i * TABLE_SPAN);
		*flat_entry(d, d->window + i * TABLE_SPAN) = 0;
	}
	d->window = at;
	d->window_moves++;
	tlb_flush(d);
	d->mmu->window(d);
	if (d->vcpu->engine->window_moved)
		d->vcpu->engine->window_moved(d->vcpu);
	return 0;
}

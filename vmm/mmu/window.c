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
make_tables(struct vcpu *v)
{
	struct domain *d = v->domain;

	for (unsigned i = 0; i < WINDOW_TABLES; i++) {
		uint64_t va = d->window + i * TABLE_SPAN;
		int level, err = page_map(v->root, va, d->window_page, PTE_P | PTE_A | PTE_NX);

		if (err)
			return err;
		d->window_tables[i] =
			ptr_mfn((void *)((uint64_t)page_entry(v->root, va, &level) & ~PAGE_MASK));
		page_unmap(v->root, va);
	}
	return 0;
}

/* The first page says whose guest this is: read-only, never executed, and with no secret in it. */
int
window_init(struct vcpu *v)
{
	struct domain *d = v->domain;
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
	err = make_tables(v);
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
	tlb_flush_all(d);
}

/*
 * The flat map's entry for the 2 MiB at va; all places that the window may have are in one GiB,
 * which has a directory.
 */
static pte_t *
flat_entry(struct vcpu *v, uint64_t va)
{
	pte_t *pd = hpa_ptr(hpa(PTE_ADDR(v->flat[va >> 30])));

	return &pd[va / TABLE_SPAN % 512];
}

static bool
is_free(struct domain *d, uint64_t at)
{
	for_each_vcpu(v, d)
	{
		for (unsigned i = 0; i < WINDOW_TABLES; i++)
			if (d->mmu->in_use(v, gva(at + i * TABLE_SPAN)))
				return false;
	}
	return true;
}

static void
move_tables(struct vcpu *v, uint64_t at)
{
	uint64_t from = v->domain->window;

	for (unsigned i = 0; i < WINDOW_TABLES; i++) {
		*flat_entry(v, at + i * TABLE_SPAN) = *flat_entry(v, from + i * TABLE_SPAN);
		*flat_entry(v, from + i * TABLE_SPAN) = 0;
	}
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
	for_each_vcpu(v, d) move_tables(v, at);
	d->window = at;
	d->window_moves++;
	tlb_flush_all(d);
	for_each_vcpu(v, d)
	{
		d->mmu->window(v);
		if (v->engine->window_moved)
			v->engine->window_moved(v);
	}
	return 0;
}

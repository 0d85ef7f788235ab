/*
 * The pages of the translation cache in the VMM window.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <vmm/bt/bt.h>

/* A frame of the host's, seen by the guest's CPU at `offset`. NULL: no memory. */
static void *
window_page(struct domain *d, uint32_t offset, pte_t flags)
{
	mfn_t f = frame_alloc(FRAME_HOST, OWNER_HOST);

	if (!mfn_ok(f))
		return NULL;
	window_map(d, offset, f, flags | PTE_P);
	return mfn_ptr(f);
}

static void *
host_page(void)
{
	mfn_t f = frame_alloc(FRAME_HOST, OWNER_HOST);

	return mfn_ok(f) ? mfn_ptr(f) : NULL;
}

static void
give_back(void *page)
{
	if (page)
		frame_put(ptr_mfn(page));
}

static int
host_pages(struct bt *bt)
{
	bt->pages = host_page();
	bt->hash = host_page();
	bt->in_page = host_page();
	bt->hot = host_page();
	bt->regions = host_page();
	if (!bt->pages || !bt->hash || !bt->in_page || !bt->hot || !bt->regions)
		return -ENOMEM;
	for (unsigned i = 0; i < BT_MAPS; i++)
		if (!(bt->maps[i] = host_page()))
			return -ENOMEM;
	for (unsigned i = 0; i < ARRAY_LEN(bt->pages->blocks); i++)
		if (!(bt->pages->blocks[i] = host_page()))
			return -ENOMEM;
	return 0;
}

int
bt_window_init(struct vcpu *v)
{
	struct domain *d = v->domain;
	struct bt *bt = bt_of(v);
	struct bt_pages *p;
	int err = host_pages(bt);

	if (err)
		return err;
	p = bt->pages;
	for (uint32_t i = 0; i < ARRAY_LEN(p->code); i++)
		if (!(p->code[i] = window_page(d, BT_CODE_AT + i * PAGE_SIZE, 0)))
			return -ENOMEM;
	bt->shared = window_page(d, BT_SHARED_AT, PTE_W | PTE_NX);
	if (!bt->shared)
		return -ENOMEM;
	for (uint32_t i = 0; i < ARRAY_LEN(p->table); i++)
		if (!(p->table[i] =
			      window_page(d, BT_SHARED_AT + BT_AT_TABLE + i * PAGE_SIZE, PTE_NX)))
			return -ENOMEM;
	bt_table_set(bt, 0, 0);
	return 0;
}

/* Takes a half-made one, too. */
void
bt_window_free(struct vcpu *v)
{
	struct bt *bt = bt_of(v);

	for (unsigned i = 0; i < BT_MAPS; i++)
		give_back(bt->maps[i]);
	if (bt->pages) {
		for (unsigned i = 0; i < ARRAY_LEN(bt->pages->code); i++)
			give_back(bt->pages->code[i]);
		for (unsigned i = 0; i < ARRAY_LEN(bt->pages->table); i++)
			give_back(bt->pages->table[i]);
		for (unsigned i = 0; i < ARRAY_LEN(bt->pages->blocks); i++)
			give_back(bt->pages->blocks[i]);
	}
	give_back(bt->shared);
	give_back(bt->pages);
	give_back(bt->hash);
	give_back(bt->in_page);
	give_back(bt->hot);
	give_back(bt->regions);
}

void
bt_code_write(struct bt *bt, uint32_t at, const void *bytes, size_t n)
{
	const uint8_t *from = bytes;

	ASSERT(at + n <= BT_CODE_SIZE);
	for (size_t i = 0; i < n; i++)
		bt->pages->code[(at + i) >> PAGE_SHIFT][(at + i) & PAGE_MASK] = from[i];
}

void
bt_code_read(struct bt *bt, uint32_t at, void *bytes, size_t n)
{
	uint8_t *to = bytes;

	ASSERT(at + n <= BT_CODE_SIZE);
	for (size_t i = 0; i < n; i++)
		to[i] = bt->pages->code[(at + i) >> PAGE_SHIFT][(at + i) & PAGE_MASK];
}

uint32_t
bt_address(struct vcpu *v, uint32_t at)
{
	return (uint32_t)v->domain->window + BT_CODE_AT + at;
}

static uint32_t *
entry(struct bt *bt, uint32_t eip)
{
	uint32_t at = (eip & ((1u << BT_TABLE_BITS) - 1)) * 8;

	return bt->pages->table[at >> PAGE_SHIFT] + (at & PAGE_MASK) / 4;
}

/* An entry of zeros matches eip 0 alone, so entry 0 has a word of its own that matches none of its eips. */
void
bt_table_set(struct bt *bt, uint32_t eip, uint32_t to)
{
	uint32_t *e = entry(bt, eip);

	e[0] = to ? -eip : !(eip & ((1u << BT_TABLE_BITS) - 1));
	e[1] = to;
}

void
bt_table_clear(struct bt *bt, uint32_t eip, uint32_t to)
{
	if (entry(bt, eip)[1] == to)
		bt_table_set(bt, eip, 0);
}

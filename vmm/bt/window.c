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
	void *page = host_page();

	if (page)
		window_map(d, offset, ptr_mfn(page), flags | PTE_P);
	return page;
}

static int
host_pages(struct bt *bt)
{
	bt->pages = host_page();
	bt->hot = host_page();
	bt->regions[0] = host_page();
	bt->alike = host_page();
	bt->ways = host_page();
	if (!bt->pages || !bt->hot || !bt->regions[0] || !bt->alike || !bt->ways)
		return -ENOMEM;
	bt->pages->code = host_page();
	bt->pages->blocks = host_page();
	if (!bt->pages->code || !bt->pages->blocks)
		return -ENOMEM;
	for (unsigned i = 0; i < ARRAY_LEN(bt->pages->eips); i++)
		if (!(bt->pages->eips[i] = host_page()))
			return -ENOMEM;
	for (unsigned i = 0; i < ARRAY_LEN(bt->pages->frames); i++)
		if (!(bt->pages->frames[i] = host_page()))
			return -ENOMEM;
	for (unsigned i = 0; i < ARRAY_LEN(bt->known); i++)
		if (!(bt->known[i] = host_page()))
			return -ENOMEM;
	return 0;
}

bool
bt_window_code(struct vcpu *v, uint32_t end)
{
	uint8_t **code = bt_of(v)->pages->code;

	if (end > BT_CODE_SIZE)
		return false;
	for (uint32_t i = bt_of(v)->code_used >> PAGE_SHIFT; i << PAGE_SHIFT < end; i++) {
		if (!code[i])
			code[i] = window_page(v->domain, BT_CODE_AT + i * PAGE_SIZE, 0);
		if (!code[i])
			return false;
	}
	return true;
}

bool
bt_window_block(struct bt *bt, unsigned block)
{
	struct bt_block **part = &bt->pages->blocks[block / 64];

	if (block >= BT_BLOCKS)
		return false;
	if (!*part)
		*part = host_page();
	return *part;
}

bool
bt_window_maps(struct bt *bt, unsigned page)
{
	struct bt_map **part = &bt->pages->maps[page];

	if (page >= BT_MAPS)
		return false;
	if (!*part)
		*part = host_page();
	return *part;
}

int
bt_window_init(struct vcpu *v)
{
	struct domain *d = v->domain;
	struct bt *bt = bt_of(v);
	struct bt_pages *p;

	if (host_pages(bt))
		return -ENOMEM;
	p = bt->pages;
	bt->shared = window_page(d, BT_SHARED_AT, PTE_W | PTE_NX);
	if (!bt->shared)
		return -ENOMEM;
	for (uint32_t i = 0; i < ARRAY_LEN(p->table); i++)
		if (!(p->table[i] =
			      window_page(d, BT_SHARED_AT + BT_AT_TABLE + i * PAGE_SIZE, PTE_NX)))
			return -ENOMEM;
	bt_table_set(bt, 0, 0);
	if (!bt_window_code(v, BT_CODE_MAX) || !bt_window_block(bt, 1) || !bt_window_maps(bt, 0))
		return -ENOMEM; /* with these there is room for one block, at least */
	return 0;
}

static void
give_back_all(void *pages, unsigned n)
{
	void **p = pages;

	for (unsigned i = 0; p && i < n; i++)
		host_page_put(p[i]);
}

/* Takes a half-made one, too. */
void
bt_window_free(struct vcpu *v)
{
	struct bt *bt = bt_of(v);
	struct bt_pages *p = bt->pages;

	if (p) {
		give_back_all(p->table, ARRAY_LEN(p->table));
		give_back_all(p->maps, ARRAY_LEN(p->maps));
		give_back_all(p->eips, ARRAY_LEN(p->eips));
		give_back_all(p->frames, ARRAY_LEN(p->frames));
		give_back_all(p->code, BT_CODE_SIZE / PAGE_SIZE);
		give_back_all(p->blocks, BT_BLOCKS / 64);
		host_page_put(p->code);
		host_page_put(p->blocks);
	}
	give_back_all(bt->known, ARRAY_LEN(bt->known));
	host_page_put(bt->shared);
	host_page_put(bt->pages);
	host_page_put(bt->hot);
	give_back_all(bt->regions, BT_REGIONS);
	host_page_put(bt->alike);
	host_page_put(bt->ways);
}

/*
 * Eight bytes at a time: QEMU looks at every store to a page that it has translated code from, and
 * the fewer there are the better.
 */
void
bt_code_write(struct bt *bt, uint32_t at, const void *bytes, size_t n)
{
	const uint8_t *from = bytes;

	ASSERT(at + n <= BT_CODE_SIZE);
	for (size_t done = 0; done < n;) {
		uint64_t *word = (uint64_t *)(bt->pages->code[(at + done) >> PAGE_SHIFT] +
					      ((at + done) & PAGE_MASK & ~7u));
		size_t skip = (at + done) % 8, part = 8 - skip;
		uint64_t value = *word;

		if (part > n - done)
			part = n - done;
		memcpy((uint8_t *)&value + skip, from + done, part);
		*(volatile uint64_t *)word = value;
		done += part;
	}
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

/*
 * An entry of zeros matches eip 0 alone, so entry 0 has a word of its own that matches none of its
 * eips.
 */
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

void
bt_table_empty(struct bt *bt)
{
	for (unsigned i = 0; i < ARRAY_LEN(bt->pages->table); i++)
		memset(bt->pages->table[i], 0, PAGE_SIZE);
	bt_table_set(bt, 0, 0);
}

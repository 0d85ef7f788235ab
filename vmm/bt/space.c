/*
 * Address spaces: blocks are known by linear address, and chains and the table of targets lead from
 * one to the other without the host. So the cache must hold for the address space that is loaded:
 * each page with translated code leads to the frame that it was translated from.
 *
 * A guest changes that by a page table, or by CR3. For each 2 MiB with code (a region) Zeno keeps
 * the frames of its pages. The page table that maps a region is tracked: a write to it is looked at
 * at once. When CR3 is loaded or INVLPG runs, the entry of the page directory is compared, and if
 * it leads to another table, the pages are. Tables that were found to map a region alike are
 * remembered, and tracked, so that a kernel with tables of its own for each process pays for that
 * once for each of them. A page that leads elsewhere loses its blocks, and no other page does.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/bt/bt.h>
#include <vmm/mmu/shadow/shadow.h>

#define REGION_SHIFT 21
#define NO_TABLE     0xfffffffu /* a frame number beyond all RAM: PAE's register says "not present" */
#define DIRECTORY    2u         /* the level whose entries cover a region, or two */

static bool
paging(const struct vcpu *v)
{
	return v->state.cr0 & CR0_PG;
}

/* The guest's walk to a page; false: it is not mapped for a fetch. */
static bool
walk(struct vcpu *v, uint64_t linear, struct walk *w)
{
	struct shadow_mmu *m = shadow_of(v);
	struct walk_memory memory = guest_memory(m);

	*w = (struct walk){ 0 };
	return !guest_walk(&m->paging, gva(linear), ACCESS_FETCH | ACCESS_PROBE, &memory, w);
}

/* What maps a region: an entry without A and D; 0: nothing does. */
static uint64_t
directory_entry(struct vcpu *v, const struct bt_region *r)
{
	struct shadow_mmu *m = shadow_of(v);
	const struct paging *p = &m->paging;
	struct walk_memory memory = guest_memory(m);
	gva_t a = gva((uint64_t)r->base << REGION_SHIFT);
	unsigned size = p->format->entry_size;
	uint64_t table = p->root, entry;

	if (p->format->registers) {
		entry = p->pdpte[paging_index(p, DIRECTORY + 1, a)];
		if (!(entry & PTE_P))
			return 0;
		table = paging_address(p, DIRECTORY + 1, entry);
	}
	entry = memory.read(memory.ctx, gpa(table + paging_index(p, DIRECTORY, a) * size), size);
	return entry & PTE_P ? entry & ~(PTE_A | PTE_D) : 0;
}

/* The guest frame of the page table behind a directory entry; BT_NO_TABLE: there is none. */
static uint32_t
table_of(struct vcpu *v, uint64_t entry)
{
	const struct paging *p = &shadow_of(v)->paging;

	if (!(entry & PTE_P) || paging_maps(p, DIRECTORY, entry))
		return BT_NO_TABLE;
	return (uint32_t)gpa_to_gfn(gpa(paging_address(p, DIRECTORY, entry))).v;
}

static struct bt_region *
region_of(struct bt *bt, uint64_t linear)
{
	for (unsigned i = 0; i < bt->region_count; i++)
		if (bt->regions[i]->base == linear >> REGION_SHIFT)
			return bt->regions[i];
	return NULL;
}

static uint64_t
page_address(const struct bt_region *r, unsigned page)
{
	return (uint64_t)r->base << REGION_SHIFT | page << PAGE_SHIFT;
}

static bool
has_page(const struct bt_region *r, unsigned page)
{
	return r->pages[page / 64] >> page % 64 & 1;
}

/* Blocks with a byte on this linear page, while it led to this frame, die. */
static void
drop_blocks(struct vcpu *v, uint32_t page, uint32_t frame)
{
	struct bt *bt = bt_of(v);
	uint16_t *list = bt_frame_list(bt, frame);

	while (*list) {
		struct bt_block *b = bt_block(bt, *list);
		uint32_t first = (uint32_t)(bt->cs_base + b->eip) >> PAGE_SHIFT;
		uint32_t last = (uint32_t)(bt->cs_base + b->eip + b->guest_len - 1) >> PAGE_SHIFT;

		if (!(b->flags & BT_DEAD) &&
		    ((page == first && b->gfn[0] == frame) || (page == last && b->gfn[1] == frame)))
			bt_invalidate(v, b);
		if (b->flags & BT_DEAD)
			*list = *bt_frame_next(b, frame);
		else
			list = bt_frame_next(b, frame);
	}
}

static void
drop_page(struct vcpu *v, struct bt_region *r, unsigned page)
{
	uint32_t linear = (uint32_t)page_address(r, page) >> PAGE_SHIFT;

	drop_blocks(v, linear, r->gfn[page]);
	r->pages[page / 64] &= ~(1ull << page % 64);
}

/*
 * Looks where a page with code leads now. In another address space its entries may not be accessed
 * yet; they are now, for a CPU may do that for a fetch that only might come (SDM 3A 4.8), and the
 * blocks need not be made again.
 */
static void
look_at_page(struct vcpu *v, struct bt_region *r, unsigned page)
{
	struct shadow_mmu *m = shadow_of(v);
	struct walk_memory memory = guest_memory(m);
	struct walk w;

	if (!walk(v, page_address(r, page), &w) || gpa_to_gfn(w.gpa).v != r->gfn[page])
		drop_page(v, r, page);
	else
		walk_mark(&m->paging, ACCESS_FETCH, &memory, &w);
}

static struct bt_alike *
alike_at(struct bt *bt, uint32_t table, uint32_t base)
{
	return &bt->alike[(table * 2 + base % 2) % BT_ALIKE];
}

/* All pages of the region lead where they should by r->entry, and its table is tracked. */
static void
remember(struct vcpu *v, struct bt_region *r)
{
	if (r->table == BT_NO_TABLE)
		return;
	*alike_at(bt_of(v), r->table, r->base) =
		(struct bt_alike){ .entry = r->entry, .base = r->base, .version = r->version };
	page_track(v->domain, gfn(r->table), TRACK_CODE);
}

/* The directory may have another entry for a region. */
static void
look_at_region(struct vcpu *v, struct bt_region *r)
{
	uint64_t entry = directory_entry(v, r);
	const struct bt_alike *known;

	if (entry == r->entry)
		return;
	r->entry = entry;
	r->table = table_of(v, entry);
	known = alike_at(bt_of(v), r->table, r->base);
	if (known->entry == entry && known->base == r->base && known->version == r->version)
		return;
	for (unsigned page = 0; page < ARRAY_LEN(r->gfn); page++) {
		if (!r->pages[page / 64])
			page |= 63;
		else if (has_page(r, page))
			look_at_page(v, r, page);
	}
	remember(v, r);
}

/*
 * A region for this address; NULL: there is no room for one, and all is flushed at the next entry.
 */
static struct bt_region *
new_region(struct vcpu *v, uint64_t linear)
{
	struct bt *bt = bt_of(v);
	unsigned n = bt->region_count;

	if (n < BT_REGIONS && !bt->regions[n])
		bt->regions[n] = host_page();
	if (n == BT_REGIONS || !bt->regions[n]) {
		bt->no_room = true;
		return NULL;
	}
	bt->region_count++;
	memset(bt->regions[n], 0, sizeof(*bt->regions[n]));
	bt->regions[n]->base = (uint32_t)(linear >> REGION_SHIFT);
	return bt->regions[n];
}

static void
note(struct vcpu *v, uint64_t linear, uint32_t frame)
{
	struct bt_region *r = region_of(bt_of(v), linear);
	unsigned page = linear >> PAGE_SHIFT & 511;

	if (!r)
		r = new_region(v, linear);
	if (!r)
		return;
	look_at_region(v, r);
	if (has_page(r, page) && r->gfn[page] == frame)
		return;
	if (has_page(r, page)) /* the guest has not told its TLB: then either frame may be meant */
		drop_page(v, r, page);
	r->pages[page / 64] |= 1ull << page % 64;
	r->gfn[page] = frame;
	r->version = ++bt_of(v)->space_version;
	remember(v, r);
}

/* A new block, in no list yet: its pages are looked after from now on. */
void
bt_space_note(struct vcpu *v, const struct bt_block *b)
{
	uint64_t linear = bt_of(v)->cs_base + b->eip;

	if (!paging(v))
		return;
	note(v, (uint32_t)linear, b->gfn[0]);
	if (b->gfn[0] != b->gfn[1])
		note(v, (uint32_t)(linear + b->guest_len - 1), b->gfn[1]);
}

void
bt_space_forget(struct bt *bt)
{
	bt->region_count = 0;
	bt->no_room = false;
	memset(bt->alike, 0, PAGE_SIZE);
}

bool
bt_space_has(const struct bt *bt, uint32_t g)
{
	for (unsigned i = 0; i < bt->region_count; i++)
		if (bt->regions[i]->table == g)
			return true;
	return false;
}

/*
 * The guest wrote from..to - 1 of a region's page table: pages whose entries are there may lead
 * elsewhere.
 */
static void
table_written(struct vcpu *v, struct bt_region *r, uint32_t from, uint32_t to)
{
	unsigned size = shadow_of(v)->paging.format->entry_size;
	unsigned half = size == 4 ? r->base % 2 * 512 : 0;

	for (uint32_t n = from / size; n * size < to; n++)
		if (n >= half && n < half + 512 && has_page(r, n - half))
			look_at_page(v, r, n - half);
}

/*
 * The guest wrote from..to - 1 of frame g, which is tracked. A table that is not in use now is no
 * longer known.
 */
void
bt_space_written(struct vcpu *v, uint32_t g, uint32_t from, uint32_t to)
{
	struct bt *bt = bt_of(v);
	bool in_use = false;

	if (!paging(v))
		return;
	for (unsigned i = 0; i < bt->region_count; i++) {
		if (bt->regions[i]->table != g)
			continue;
		table_written(v, bt->regions[i], from, to);
		in_use = true;
	}
	for (uint32_t half = 0; half < 2 && !in_use; half++) {
		struct bt_alike *known = alike_at(bt, g, half);

		if (table_of(v, known->entry) == g)
			*known = (struct bt_alike){ 0 };
	}
}

/*
 * bt runs from the VMM window, so its part of the root may not wait for a fault. False: there is no
 * memory for it.
 */
static bool
reach_window(struct shadow_mmu *m)
{
	const struct paging *p = &m->paging;
	unsigned i = m->domain->window / level_span(3), slot;
	const struct shadow_kind kind = { .format = p->format->id, .level = 2, .quadrant = i };
	gfn_t g;

	if (shadow_at_slot(m, ROOT_SLOT)->table[i] & PTE_P)
		return true;
	if (!shadow_reclaim(m, 1))
		return false;
	slot = shadow_get(m, directory_of(p, i, &g) ? g : gfn(NO_TABLE), kind);
	shadow_set(m, ROOT_SLOT, i,
		   mfn_to_hpa(ptr_mfn(shadow_at_slot(m, slot)->table)).v | PTE_P | PTE_W | PTE_U |
			   PTE_A | PTE_D,
		   LIST_OF_SHADOW(slot));
	tlb_flush(m->vcpu);
	return true;
}

/*
 * Linear addresses may mean something else than they did, and the cache may be out of the CPU's
 * reach; false: no memory.
 */
bool
bt_space_look(struct vcpu *v)
{
	const struct paging off = { 0 }, *p = paging(v) ? &shadow_of(v)->paging : &off;
	struct bt *bt = bt_of(v);

	if (bt->no_room || p->format != bt->paging_format || p->nx != bt->nx)
		bt_flush(v);
	for (unsigned i = 0; i < bt->region_count; i++)
		look_at_region(v, bt->regions[i]);
	bt->tlb_generation = v->tlb.generation;
	bt->paging_format = p->format;
	bt->nx = p->nx;
	return !paging(v) || reach_window(shadow_of(v));
}

/*
 * The guest has run INVLPG. What else the entry of its directory maps may be looked at now, too
 * (SDM 3A 4.10.4.2).
 */
void
bt_space_page(struct vcpu *v, uint32_t linear)
{
	struct bt_region *r = paging(v) ? region_of(bt_of(v), linear) : NULL;

	if (r)
		look_at_region(v, r);
}

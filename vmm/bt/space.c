/*
 * Address spaces: blocks are known by linear address, and chains and the table of targets lead from one to the other
 * without the host. So all of the cache belongs to one mapping of the pages with code in them.
 *
 * A guest changes that by a page table, or by CR3. The page tables that map code are tracked, and the entry of the page
 * directory above is compared at each load of CR3. Kernels map their code alike in all their address spaces, so
 * little is lost when a difference flushes everything.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/bt/bt.h>
#include <vmm/mmu/shadow/shadow.h>

#define REGION_SHIFT 21
#define DIRECTORY    2u /* the level whose entries cover a region, or two */

static bool
paging(const struct vcpu *v)
{
	return v->state.cr0 & CR0_PG;
}

/* The guest's walk to a page; false: it is not mapped for a fetch. */
static bool
walk(struct vcpu *v, uint64_t linear, struct walk *w)
{
	struct shadow_mmu *m = shadow_of(v->domain);
	struct walk_memory memory = guest_memory(m);

	*w = (struct walk){ 0 };
	return !guest_walk(&m->paging, gva(linear), HOW_FETCH | ACCESS_PROBE, &memory, w);
}

static uint64_t
directory_entry(const struct walk *w)
{
	return w->step[DIRECTORY].entry & ~(PTE_A | PTE_D);
}

static struct bt_region *
region_of(struct bt *bt, uint64_t linear)
{
	for (unsigned i = 0; i < bt->region_count; i++)
		if (bt->regions[i].base == linear >> REGION_SHIFT)
			return &bt->regions[i];
	return NULL;
}

static void
note(struct vcpu *v, uint64_t linear)
{
	const struct paging *p = &shadow_of(v->domain)->paging;
	struct bt *bt = bt_of(v);
	struct bt_region *r = region_of(bt, linear);
	unsigned page = linear >> PAGE_SHIFT & 511;
	struct walk w;

	if (!r && bt->region_count == BT_REGIONS) {
		bt->remapped = true; /* flushed at the next entry */
		return;
	}
	if (!r) {
		walk(v, linear, &w);
		r = &bt->regions[bt->region_count++];
		*r = (struct bt_region){ .base = (uint32_t)(linear >> REGION_SHIFT),
					 .table = BT_NO_TABLE,
					 .entry = directory_entry(&w) };
		if (w.last < DIRECTORY) {
			r->table =
				(uint32_t)gpa_to_gfn(
					gpa(paging_address(p, DIRECTORY, w.step[DIRECTORY].entry)))
					.v;
			page_track(v->domain, gfn(r->table), TRACK_CODE);
		}
	}
	r->pages[page / 64] |= 1ull << page % 64;
}

/* A new block: its pages are looked after from now on. */
void
bt_space_note(struct vcpu *v, const struct bt_block *b)
{
	uint64_t linear = bt_of(v)->cs_base + b->eip;

	if (!paging(v))
		return;
	note(v, (uint32_t)linear);
	if (b->gfn[0] != b->gfn[1])
		note(v, (uint32_t)(linear + b->guest_len - 1));
}

void
bt_space_forget(struct bt *bt)
{
	bt->region_count = 0;
	bt->remapped = false;
}

bool
bt_space_has(const struct bt *bt, uint32_t g)
{
	for (unsigned i = 0; i < bt->region_count; i++)
		if (bt->regions[i].table == g)
			return true;
	return false;
}

/* Whether the page still leads to the frame that its blocks are of. */
static bool
still_mapped(struct vcpu *v, uint64_t linear)
{
	struct bt *bt = bt_of(v);
	struct walk w;
	uint32_t g;

	if (!walk(v, linear, &w))
		return false;
	g = (uint32_t)gpa_to_gfn(w.gpa).v;
	for (unsigned n = bt->in_page[g % BT_HASH]; n; n = bt_block(bt, n)->next_in_page) {
		const struct bt_block *b = bt_block(bt, n);

		if (b->gfn[0] == g && !(b->flags & BT_DEAD) &&
		    (uint32_t)(bt->cs_base + b->eip) >> PAGE_SHIFT == linear >> PAGE_SHIFT)
			return true;
	}
	return false;
}

/* The guest wrote from..to - 1 of frame g: if that is an entry for a page with code, look where it leads now. */
void
bt_space_written(struct vcpu *v, uint32_t g, uint32_t from, uint32_t to)
{
	struct bt *bt = bt_of(v);
	unsigned size, half;

	for (unsigned i = 0; paging(v) && i < bt->region_count; i++) {
		const struct bt_region *r = &bt->regions[i];

		if (r->table != g)
			continue;
		size = shadow_of(v->domain)->paging.format->entry_size;
		half = size == 4 ? (r->base & 1) * 512 : 0;
		for (uint32_t n = from / size; n * size < to; n++)
			if (n >= half && n < half + 512 &&
			    r->pages[(n - half) / 64] >> (n - half) % 64 & 1 &&
			    !still_mapped(v, (uint64_t)r->base << REGION_SHIFT |
						     (n - half) << PAGE_SHIFT))
				bt->remapped = true;
	}
}

/* A page of the region that has code in it. */
static uint64_t
page_in(const struct bt_region *r)
{
	unsigned word = 0, page;

	while (word < ARRAY_LEN(r->pages) - 1 && !r->pages[word])
		word++;
	page = word * 64 + (r->pages[word] ? (unsigned)__builtin_ctzll(r->pages[word]) : 0);
	return (uint64_t)r->base << REGION_SHIFT | page << PAGE_SHIFT;
}

static bool
same_directories(struct vcpu *v)
{
	struct bt *bt = bt_of(v);

	for (unsigned i = 0; i < bt->region_count; i++) {
		const struct bt_region *r = &bt->regions[i];
		struct walk w;

		if (!walk(v, page_in(r), &w) || directory_entry(&w) != r->entry)
			return false;
	}
	return true;
}

/* Whether the CPU can get at the cache; false: no memory. */
bool
bt_space_reach(struct vcpu *v)
{
	return !paging(v) || shadow_reach_window(shadow_of(v->domain));
}

static uint64_t
loads_of(struct vcpu *v)
{
	return paging(v) ? shadow_of(v->domain)->stats.loads : 0;
}

/* Linear addresses may mean something else than they did: then flushes the cache. */
static __attribute__((noinline)) void
look_again(struct vcpu *v)
{
	const struct cpu_state *s = &v->state;
	struct bt *bt = bt_of(v);

	if (bt->remapped || (s->cr0 ^ bt->cr0) & CR0_PG || (paging(v) && !same_directories(v)))
		bt_flush(v);
	bt->loads = loads_of(v);
	bt->cr0 = s->cr0;
	bt->cr3 = s->cr3;
	bt->cr4 = s->cr4;
}

/* Before each entry. */
void
bt_space_check(struct vcpu *v)
{
	const struct cpu_state *s = &v->state;
	const struct bt *bt = bt_of(v);

	if (bt->remapped || (s->cr0 ^ bt->cr0) & CR0_PG || loads_of(v) != bt->loads ||
	    s->cr3 != bt->cr3 || s->cr4 != bt->cr4)
		look_again(v);
}

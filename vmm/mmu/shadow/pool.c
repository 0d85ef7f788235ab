/*
 * The pool of a vCPU's shadows: found by guest frame and kind, bounded, and given back.
 *
 * A shadow takes two frames of the host's, the table and its links, and keeps them until the domain
 * ends. There are as many shadows as a thirty-second of the guest's frames, within SHADOW_MIN and
 * SHADOW_MAX. So a guest that makes page tables without end uses up its own pool, and what it loses
 * is time.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/mmu/shadow/shadow.h>

#define PDPT_ENTRIES 4u /* of the root's: the guest's 4 GiB */

static unsigned
hash_of(gfn_t g)
{
	return g.v % SHADOW_HASH;
}

/* A slot with frames of its own for the free list: 0, -ENOMEM. */
static int
grow(struct shadow_mmu *m)
{
	unsigned part = m->count / SHADOWS_PER_FRAME;
	struct shadow *s;

	if (!m->shadows[part])
		m->shadows[part] = host_page();
	if (!m->shadows[part])
		return -ENOMEM;
	s = shadow_at_slot(m, m->count);
	if (!s->table)
		s->table = host_page();
	if (!s->links)
		s->links = host_page();
	if (!s->table || !s->links)
		return -ENOMEM;
	s->next = m->free;
	m->free = m->count++;
	return 0;
}

/* Slot 0 is the PDPT of the domain's root, so that its entries can be linked like all others. */
static int
root_slot_init(struct shadow_mmu *m)
{
	pte_t top = *root_slot(m->vcpu->root, 0);
	struct shadow *s;

	m->shadows[0] = host_page();
	if (!m->shadows[0])
		return -ENOMEM;
	s = shadow_at_slot(m, ROOT_SLOT);
	s->links = host_page();
	if (!s->links)
		return -ENOMEM;
	ASSERT(top & PTE_P);
	s->table = hpa_ptr(hpa(PTE_ADDR(top)));
	s->kind = (struct shadow_kind){ .level = 3 };
	s->used = true;
	m->count = 1;
	return 0;
}

/* 0 or -ENOMEM; shadow_pool_free() takes a half-made one too. */
int
shadow_pool_init(struct shadow_mmu *m)
{
	uint64_t pages = m->domain->ram >> PAGE_SHIFT;
	uint64_t limit = pages / 32;

	m->top_level = 3;
	m->top = NO_SHADOW;
	m->limit = limit < SHADOW_MIN ? SHADOW_MIN : limit > SHADOW_MAX ? SHADOW_MAX : limit;
	m->free = NO_SHADOW;
	memset(m->hash, 0xff, sizeof(m->hash)); /* NO_SHADOW */
	for (uint64_t i = 0; i < pages; i += PAGE_SIZE / 4) {
		m->heads[i / (PAGE_SIZE / 4)] = host_page();
		if (!m->heads[i / (PAGE_SIZE / 4)])
			return -ENOMEM;
	}
	return root_slot_init(m);
}

/* The root's PDPT is the domain's, and shows the flat map again. */
void
shadow_pool_free(struct shadow_mmu *m)
{
	for (unsigned i = 0; i < SHADOW_MAX; i++) {
		struct shadow *s = m->shadows[i / SHADOWS_PER_FRAME];

		if (!s)
			break;
		s += i % SHADOWS_PER_FRAME;
		if (i != ROOT_SLOT)
			host_page_put(s->table);
		host_page_put(s->links);
	}
	for (unsigned i = 0; i < ARRAY_LEN(m->shadows); i++)
		host_page_put(m->shadows[i]);
	for (unsigned i = 0; i < ARRAY_LEN(m->heads); i++)
		host_page_put(m->heads[i]);
}

/* `count` slots have been made and `live` are in use; those between are on the free list. */
static inline bool
has_room(const struct shadow_mmu *m, unsigned n)
{
	return m->count - 1u - m->live >= n;
}

static COLD bool
make_room(struct shadow_mmu *m, unsigned n)
{
	while (!has_room(m, n))
		if (m->count >= m->limit || grow(m))
			return false;
	return true;
}

bool
shadow_room(struct shadow_mmu *m, unsigned n)
{
	return has_room(m, n) || make_room(m, n);
}

static bool
same_kind(struct shadow_kind a, struct shadow_kind b)
{
	return a.format == b.format && a.level == b.level && a.quadrant == b.quadrant;
}

unsigned
shadow_of_frame(struct shadow_mmu *m, gfn_t g, unsigned after)
{
	unsigned slot = after == NO_SHADOW ? m->hash[hash_of(g)] : shadow_at_slot(m, after)->next;

	while (slot != NO_SHADOW && shadow_at_slot(m, slot)->gfn != g.v)
		slot = shadow_at_slot(m, slot)->next;
	return slot;
}

unsigned
shadow_find(struct shadow_mmu *m, gfn_t g, struct shadow_kind kind)
{
	unsigned slot = shadow_of_frame(m, g, NO_SHADOW);

	while (slot != NO_SHADOW && !same_kind(shadow_at_slot(m, slot)->kind, kind))
		slot = shadow_of_frame(m, g, slot);
	return slot;
}

/* The window's two entries, in the shadow of the page directory that covers it. */
static void
show_window(struct shadow_mmu *m, struct shadow *s)
{
	struct domain *d = m->domain;

	if (s->kind.level != 2 || s->kind.quadrant != d->window / level_span(3))
		return;
	s->present += WINDOW_TABLES;
	for (unsigned i = 0; i < WINDOW_TABLES; i++)
		s->table[shadow_index(2, gva(d->window + i * level_span(2)))] =
			mfn_to_hpa(d->window_tables[i]).v | PTE_P | PTE_W | PTE_A | PTE_WINDOW;
}

unsigned
shadow_get(struct shadow_mmu *m, gfn_t g, struct shadow_kind kind)
{
	unsigned slot = shadow_find(m, g, kind);
	struct shadow *s;

	if (slot != NO_SHADOW)
		return slot;
	slot = m->free;
	ASSERT(slot != NO_SHADOW);
	s = shadow_at_slot(m, slot);
	m->free = s->next;
	s->gfn = g.v;
	s->kind = kind;
	s->writes = 0;
	s->used = true;
	s->next = m->hash[hash_of(g)];
	m->hash[hash_of(g)] = slot;
	m->live++;
	m->stats.made++;
	if (kind.format < PAGING_LONG)
		show_window(m, s);
	if (kind.format != SHADOW_DIRECT)
		page_track(m->domain, g, TRACK_PAGE_TABLE);
	return slot;
}

unsigned
shadow_top(struct shadow_mmu *m)
{
	const struct shadow_kind kind = { .format = m->paging.format->id, .level = 4 };

	if (m->top_level == 3)
		return ROOT_SLOT;
	if (m->top == NO_SHADOW)
		m->top = shadow_get(m, gpa_to_gfn(gpa(m->paging.root)), kind);
	return m->top;
}

static void
unhash(struct shadow_mmu *m, unsigned slot)
{
	struct shadow *s = shadow_at_slot(m, slot);
	uint16_t *at = &m->hash[hash_of(gfn(s->gfn))];

	while (*at != slot)
		at = &shadow_at_slot(m, *at)->next;
	*at = s->next;
}

/* Whether a shadow of this frame shadows a table, and not a part of a large page. */
static bool
shadows_table(struct shadow_mmu *m, gfn_t g)
{
	unsigned slot = NO_SHADOW;

	while ((slot = shadow_of_frame(m, g, slot)) != NO_SHADOW)
		if (shadow_at_slot(m, slot)->kind.format != SHADOW_DIRECT)
			return true;
	return false;
}

/* ... of any vCPU. */
static bool
still_table(struct domain *d, gfn_t g)
{
	for_each_vcpu(v, d)
	{
		if (shadow_of(v) && shadows_table(shadow_of(v), g))
			return true;
	}
	return false;
}

/*
 * Most have few entries, or none: what is not there costs a look, and behind the last one nobody
 * looks.
 */
static void
clear_entries(struct shadow_mmu *m, unsigned slot)
{
	struct shadow *s = shadow_at_slot(m, slot);

	for (unsigned i = 0; s->present; i++) {
		ASSERT(i < TABLE_SIZE);
		if (s->table[i] & PTE_WINDOW) {
			s->table[i] = 0;
			s->present--;
		} else if (s->table[i]) {
			shadow_clear(m, slot, i);
		}
	}
}

/* What led to it leads nowhere now, and will be filled again by a fault. */
void
shadow_free(struct shadow_mmu *m, unsigned slot)
{
	struct shadow *s = shadow_at_slot(m, slot);

	ASSERT(slot != ROOT_SLOT && s->used);
	clear_entries(m, slot);
	shadow_clear_list(m, LIST_OF_SHADOW(slot));
	unhash(m, slot);
	if (s->kind.format != SHADOW_DIRECT && !still_table(m->domain, gfn(s->gfn)))
		page_untrack(m->domain, gfn(s->gfn), TRACK_PAGE_TABLE);
	s->used = false;
	s->next = m->free;
	m->free = slot;
	if (slot == m->top)
		m->top = NO_SHADOW;
	m->live--;
	m->stats.freed++;
	tlb_flush(m->vcpu);
}

void
shadow_free_all(struct shadow_mmu *m)
{
	for (unsigned slot = 1; slot < m->count; slot++)
		if (shadow_at_slot(m, slot)->used) {
			shadow_free(m, slot);
			preempt_point();
		}
	m->stats.emptied++;
}

/* The window moved, or its tables did: every page directory that covers it has to be made anew. */
void
shadow_window(struct vcpu *v)
{
	struct shadow_mmu *m = shadow_of(v);

	if (m)
		shadow_free_all(m);
}

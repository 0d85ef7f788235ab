/*
 * The MMU mode "shadow": how the rest of the hypervisor reaches it, and where a guest's registers
 * become the parameters of a walk.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/map.h>
#include <vmm/audit.h>
#include <vmm/mem/tlb.h>
#include <vmm/mmu/shadow/shadow.h>
#include <vmm/mmu/window.h>

/* An entry lies within a page; NULL: there is no memory. */
static inline void *
entry_ptr(struct shadow_mmu *m, gpa_t at, const struct p2m_entry **frame)
{
	*frame = p2m_entry(m->domain, gpa_to_gfn(at));
	if (!*frame || (*frame)->type != P2M_RAM)
		return NULL;
	return (uint8_t *)mfn_ptr(mfn((*frame)->mfn)) + (at.v & PAGE_MASK);
}

/* Where there is no memory a PC's bus floats: a table there is all ones. */
uint64_t
shadow_read_entry(void *ctx, gpa_t at, unsigned size)
{
	const struct p2m_entry *frame;
	const void *p = entry_ptr(ctx, at, &frame);

	if (!p)
		return size == 4 ? 0xffffffff : ~0ull;
	return size == 4 ? *(const uint32_t *)p : *(const uint64_t *)p;
}

/*
 * Owners are told, for the frame may hold more than tables; our own shadows are right already
 * (`marking`).
 */
void
shadow_write_entry(void *ctx, gpa_t at, uint64_t entry, unsigned size)
{
	struct shadow_mmu *m = ctx;
	const struct p2m_entry *frame;
	void *p = entry_ptr(m, at, &frame);
	bool was = m->marking;

	if (!p)
		return;
	if (size == 4)
		*(uint32_t *)p = (uint32_t)entry;
	else
		*(uint64_t *)p = entry;
	if (!(frame->track & ~(1u << TRACK_PAGE_TABLE)))
		return;
	m->marking = true;
	page_track_tell(m->domain, frame, at, size);
	m->marking = was;
}

/* The function itself, for a debugger and the grader. */
extern inline struct walk_memory guest_memory(struct shadow_mmu *m);

/*
 * SDM 3A 4.1.1: which mode CR0.PG, CR4 and EFER select; without PAE, NXE says nothing (4.7, I/D).
 * CPUID.80000008H:EAX has MAXPHYADDR in its lowest byte.
 */
static struct paging
paging_of(const struct cpu_state *s)
{
	static unsigned address_bits;
	struct paging p = { .wp = s->cr0 & CR0_WP, .nx = s->cr4 & CR4_PAE && s->efer & EFER_NXE };
	enum paging_format_id id = s->cr4 & CR4_PSE ? PAGING_32_PSE : PAGING_32;
	uint64_t low = 0xfff;
	uint32_t r[4];

	if (!address_bits) {
		cpuid(0x80000008, 0, r);
		address_bits = r[0] & 0xff;
	}
	if (s->cr4 & CR4_PAE) {
		id = s->efer & EFER_LMA ? PAGING_LONG : PAGING_PAE;
		low = id == PAGING_PAE ? 0x1f : 0xfff; /* SDM 3A 4.4.1: the PDPT lies at 32 bytes */
	}
	p.format = &paging_formats[id];
	p.root = s->cr3 & ~low & (id == PAGING_LONG ? 0x000fffffffffffff : 0xffffffff);
	p.address_bits = address_bits;
	memcpy(p.pdpte, s->pdpte, sizeof(p.pdpte));
	return p;
}

static int
shadow_init(struct vcpu *v)
{
	struct shadow_mmu *m = v->mmu_data = host_page();

	if (!m)
		return -ENOMEM;
	m->domain = v->domain;
	m->vcpu = v;
	return shadow_pool_init(m);
}

/* The root's first four GiB show shadows, none yet, or the flat map. */
static void
switch_root(struct shadow_mmu *m, bool on)
{
	pte_t *pdpt = shadow_at_slot(m, ROOT_SLOT)->table;

	if (on == m->on)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(m->vcpu->flat); i++) {
		if (m->on)
			shadow_clear(m, ROOT_SLOT, i);
		pdpt[i] = on ? 0 : m->vcpu->flat[i];
	}
	m->on = on;
	tlb_flush(m->vcpu);
}

/* Whether exercise 2.1 is done. */
static bool
has_walk(struct shadow_mmu *m, const struct paging *p)
{
	struct walk_memory memory = guest_memory(m);
	struct walk w;

	return guest_walk(p, gva(0), 0, &memory, &w) != -ENOSYS;
}

/* A table that may be empty counts: the guest wants these addresses. */
static bool
in_use(struct vcpu *v, gva_t a)
{
	struct shadow_mmu *m = shadow_of(v);
	struct walk_memory memory = guest_memory(m);
	struct walk w;

	if (!m || !m->on)
		return false;
	guest_walk(&m->paging, a, ACCESS_PROBE, &memory, &w);
	return w.last < 2 || w.step[2].entry & PTE_P;
}

/*
 * The VMM window may not lie where the guest has something; if it must, what is there is out of the
 * guest's reach.
 */
static void
clear_window(struct vcpu *v)
{
	const struct domain *d = v->domain;
	bool one_entry = shadow_of(v)->paging.format->entry_size == 4; /* of 4 MiB */

	if (d->window == WINDOW_NONE)
		return;
	if (in_use(v, gva(d->window)) || (!one_entry && in_use(v, gva(d->window + level_span(2)))))
		window_move(v->domain);
}

/* Whether the guest has loaded the tables that it had: what the root shows is right then. */
static bool
same_tables(const struct paging *a, const struct paging *b)
{
	return a->format == b->format && a->root == b->root && a->pdpte[0] == b->pdpte[0] &&
	       a->pdpte[1] == b->pdpte[1] && a->pdpte[2] == b->pdpte[2] &&
	       a->pdpte[3] == b->pdpte[3];
}

static int
load(struct vcpu *v)
{
	struct paging p = paging_of(&v->state);
	struct shadow_mmu *m = shadow_of(v);
	int err = m ? 0 : shadow_init(v);
	bool same;

	if (err)
		return err;
	m = shadow_of(v);
	if (!(v->state.cr0 & CR0_PG)) {
		switch_root(m, false);
		return 0;
	}
	if (p.format->registers) {
		struct walk_memory memory = guest_memory(m);

		err = paging_load_pdptes(&p, &memory, p.pdpte);
		if (err)
			return err;
		memcpy(v->state.pdpte, p.pdpte, sizeof(p.pdpte));
	}
	if (!m->on && !has_walk(m, &p))
		return -ENOSYS;
	same = m->on && same_tables(&m->paging, &p);
	m->paging = p;
	m->top_level = p.format->levels == 4 ? 4 : 3;
	m->stats.loads++;
	switch_root(m, true);
	if (!same)
		shadow_load_root(m);
	tlb_flush(v); /* before anything is read through it */
	clear_window(v);
	audit_now_and_then(v);
	return 0;
}

static void
shadow_done(struct vcpu *v)
{
	struct shadow_mmu *m = shadow_of(v);

	if (!m)
		return;
	if (m->shadows[0] && shadow_at_slot(m, ROOT_SLOT)->used)
		switch_root(m, false);
	shadow_pool_free(m);
	host_page_put(m);
	v->mmu_data = NULL;
}

/* Shadows follow their tables at once; what is left to do is the CPU's TLB. */
static void
shadow_invlpg(struct vcpu *v, gva_t a)
{
	tlb_drop(v, a);
	invlpg(a.v);
}

/*
 * An entry with NX was valid before, or is now, and the other way it is a reserved bit: no shadow
 * outlives that.
 */
static void
nx_changed(struct vcpu *v)
{
	struct shadow_mmu *m = shadow_of(v);

	if (!m)
		return;
	m->paging.nx = paging_of(&v->state).nx;
	shadow_free_all(m);
	tlb_flush(v);
}

/* The walk that a CPU with the guest's own tables would take. */
static int
walk_tables(struct shadow_mmu *m, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault)
{
	struct walk_memory memory = guest_memory(m);
	struct walk w;

	if (guest_walk(&m->paging, a, how, &memory, &w)) {
		*fault = (struct page_fault){ a.v, w.error, true };
		return -EFAULT;
	}
	*out = w.gpa;
	if (!(how & ACCESS_PROBE)) {
		walk_mark(&m->paging, how, &memory, &w);
		shadow_keep(m, a, &w);
	}
	return 0;
}

static int
translate(struct vcpu *v, gva_t a, unsigned how, gpa_t *out, struct page_fault *fault)
{
	struct shadow_mmu *m = shadow_of(v);

	return shadow_lookup(m, a, how, out) ? 0 : walk_tables(m, a, how, out, fault);
}

/* A write to a tracked frame that the host itself could do is emulated without another walk. */
static enum mmu_outcome
fault(struct vcpu *v, const struct exit *e, struct page_fault *page_fault)
{
	const struct tlb_entry *known;

	if (!(v->state.cr0 & CR0_PG)) /* in the flat map there is all that there is */
		return MMU_EMULATE;
	if (!(e->access & ACCESS_WRITE))
		return shadow_fault(v, e, page_fault);
	known = tlb_hit(v, gva(e->gva), e->access);
	if (!known || !known->frame->track)
		return shadow_fault(v, e, page_fault);
	shadow_of(v)->stats.emulated++;
	return MMU_EMULATE;
}

static mfn_t
top(struct vcpu *v)
{
	const struct shadow_mmu *m = shadow_of(v);

	if (m->top == NO_SHADOW)
		return MFN_NONE;
	return ptr_mfn(shadow_at_slot(shadow_of(v), m->top)->table);
}

static const struct mmu_mode shadow_mode = {
	.name = "shadow",
	.one_vcpu = true,
	.load = load,
	.free = shadow_done,
	.invlpg = shadow_invlpg,
	.nx = nx_changed,
	.protect = shadow_protect,
	.window = shadow_window,
	.in_use = in_use,
	.translate = translate,
	.show = shadow_show,
	.fault = fault,
	.top = top,
	.cr4_not = CR4_SMEP | CR4_SMAP,
};
SET_ADD(mmu_modes, shadow_mode);

/* Whether a frame is the page directory, in use now, of the GiB with the window. */
static bool
is_window_directory(struct shadow_mmu *m, gfn_t g)
{
	gfn_t own;

	return m->domain->window != WINDOW_NONE &&
	       directory_of(&m->paging, m->domain->window / level_span(3), &own) && own.v == g.v;
}

static void
table_written(struct domain *d, gpa_t a, size_t len)
{
	for_each_vcpu(v, d)
	{
		struct shadow_mmu *m = shadow_of(v);

		if (!m || m->marking)
			continue;
		shadow_table_written(m, a, len);
		if (m->on && is_window_directory(m, gpa_to_gfn(a)))
			clear_window(v);
	}
}

static const struct page_track_owner table_owner = { TRACK_PAGE_TABLE, table_written };
SET_ADD(page_track_owners, table_owner);

/*
 * The auditor: compares the shadows with the guest's tables, and the lists with the entries, from
 * scratch. It shares no code with what it audits: no walk, no paging_format.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/map.h>
#include <vmm/domain.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/page_track.h>
#include <vmm/vcpu.h>
#include <trials/shadow/audit.h>

#define differ(a, ...) audit_differs((a)->report, __VA_ARGS__)

struct audit {
	struct shadow_mmu *m;
	const struct cpu_state *s;
	struct audit_report *report;
	uint64_t present; /* entries that have to be in a list */
};

static bool
is_wide(const struct audit *a)
{
	return a->s->cr4 & CR4_PAE;
}

static uint64_t
word(struct audit *a, uint64_t at, unsigned size)
{
	uint64_t value = 0;

	return gpa_read(a->m->domain, gpa(at), &value, size) ? 0 : value;
}

/*
 * What the guest's tables say of a linear address: the entries of both levels; PS is in `upper` for
 * a large page.
 */
static void
guest_entries(struct audit *a, uint32_t va, uint64_t *upper, uint64_t *lower)
{
	uint64_t table;

	*lower = 0;
	if (is_wide(a)) {
		table = a->s->pdpte[va >> 30] & 0xffffffffff000;
		*upper = a->s->pdpte[va >> 30] & 1 ? word(a, table + (va >> 21 & 511) * 8, 8) : 0;
		if (*upper & 1 && !(*upper & 0x80))
			*lower = word(a, (*upper & 0xffffffffff000) + (va >> 12 & 511) * 8, 8);
		return;
	}
	*upper = word(a, (a->s->cr3 & 0xfffff000) + (va >> 22) * 4, 4);
	if (!(a->s->cr4 & CR4_PSE))
		*upper &= ~0x80ull;
	if (*upper & 1 && !(*upper & 0x80))
		*lower = word(a, (*upper & 0xfffff000) + (va >> 12 & 1023) * 4, 4);
}

/* One page that the CPU can reach through `pde` and `pte` of ours. */
static void
check_page(struct audit *a, uint32_t va, pte_t pde, pte_t pte)
{
	uint64_t upper, lower, both, leaf, frame;
	struct p2m_entry *p;

	guest_entries(a, va, &upper, &lower);
	leaf = upper & 0x80 ? upper : lower;
	both = upper & 0x80 ? upper : upper & lower;
	frame = lower >> 12 & 0xffffffffff;
	if (upper & 0x80 && is_wide(a))
		frame = (upper >> 12 & 0xfffffffe00) | (va >> 12 & 511);
	else if (upper & 0x80)
		frame = (upper >> 12 & 0xffc00) | (upper >> 13 & 0xff) << 20 | (va >> 12 & 1023);
	p = p2m_entry(a->m->domain, gfn(frame));
	if (!(both & 1))
		differ(a, "%08x is mapped, but the guest does not map it", va);
	else if (!p || p->type != P2M_RAM || p->mfn != PTE_ADDR(pte) >> 12)
		differ(a, "%08x leads to frame %lx, the guest's is %lx", va, PTE_ADDR(pte) >> 12,
		       frame);
	else if (pde & pte & PTE_U && !(both & 4))
		differ(a, "%08x is the user's, the guest says the kernel's", va);
	else if (pde & pte & PTE_W && (!(both & 2) || !(leaf & 0x40) || p->track))
		differ(a, "%08x is writable, the guest's entry is %lx, tracked for %x", va, leaf,
		       p->track);
	else if (!(both & 0x20))
		differ(a, "%08x is mapped, but the guest's entry is not accessed", va);
	if (pte & PTE_G)
		differ(a, "%08x is global", va);
}

static void
check_window(struct audit *a, uint32_t va, pte_t pde)
{
	struct domain *d = a->m->domain;

	if (PTE_ADDR(pde) >> 12 != d->window_tables[(va - d->window) >> 21].v || pde & PTE_U)
		differ(a, "the VMM window at %08x is not the window", va);
}

/* All that the CPU can reach from the root. */
static void
check_reach(struct audit *a)
{
	struct domain *d = a->m->domain;
	const pte_t *pdpt = hpa_ptr(hpa(PTE_ADDR(*root_slot(a->m->vcpu->root, 0))));

	for (uint64_t va = 0; va < 1ul << 32; va += 1 << 21) {
		const pte_t *pd = hpa_ptr(hpa(PTE_ADDR(pdpt[va >> 30]))), *pt;
		pte_t pde = pdpt[va >> 30] & PTE_P ? pd[va >> 21 & 511] : 0;

		if (!(pdpt[va >> 30] & PTE_P))
			continue;
		if (va >= d->window && va < d->window + WINDOW_SIZE) {
			check_window(a, va, pde);
			continue;
		}
		if (!(pde & PTE_P))
			continue;
		preempt_point();
		pt = hpa_ptr(hpa(PTE_ADDR(pde)));
		for (unsigned i = 0; i < 512; i++)
			if (pt[i] & PTE_P)
				check_page(a, va + i * 4096, pde, pt[i]);
	}
}

/*
 * In long mode: where the CPU starts is a shadow of the table that CR3 has. What it can reach is
 * checked shadow by shadow.
 */
static void
check_top(struct audit *a)
{
	mfn_t top = a->m->domain->mmu->top(a->m->vcpu);
	bool found = !mfn_ok(top);

	for (unsigned slot = 1; slot < a->m->count; slot++) {
		const struct shadow *s = shadow_at_slot(a->m, slot);

		found |= s->used && ptr_mfn(s->table).v == top.v && s->kind.level == 4 &&
			 s->gfn == (a->s->cr3 >> 12 & 0xffffffffff);
	}
	if (!found)
		differ(a, "the CPU starts at frame %lx, which is no shadow of %lx", top.v,
		       a->s->cr3);
}

/*
 * What the guest's entry allows: it says W; if it maps a page, also D, and the frame is nobody's to
 * watch.
 */
static bool
may_write(struct audit *a, const struct shadow *s, uint64_t entry)
{
	struct p2m_entry *p = p2m_entry(a->m->domain, gfn(entry >> 12 & 0xffffffffff));
	bool large = s->kind.level == 2 && s->kind.format != PAGING_32 && entry & 0x80;

	if (!(entry & 2))
		return false;
	if (s->kind.level > 1)
		return !large || entry & 0x40;
	return entry & 0x40 && p && !p->track;
}

/*
 * One entry of a shadow that is in the pool, in use or not: against the guest's word that it stands
 * for.
 */
static void
check_entry(struct audit *a, const struct shadow *s, unsigned i)
{
	bool narrow = s->kind.format == PAGING_32 || s->kind.format == PAGING_32_PSE;
	unsigned at = !narrow              ? i * 8
		      : s->kind.level == 2 ? (s->kind.quadrant * 256 + i / 2) * 4
					   : (s->kind.quadrant * 512 + i) * 4;
	struct p2m_entry *p = p2m_entry(a->m->domain, gfn(s->gfn + i));
	uint64_t entry;

	if (s->kind.format == SHADOW_DIRECT) {
		if (s->kind.level == 1 && (!p || p->mfn != PTE_ADDR(s->table[i]) >> 12))
			differ(a, "part %u of the large page at frame %lx is another", i, s->gfn);
		else if (s->kind.level == 1 && s->table[i] & PTE_W && p->track)
			differ(a, "part %u of the large page at %lx is writable", i, s->gfn);
		return;
	}
	entry = word(a, (s->gfn << 12) + at, narrow ? 4 : 8);
	p = p2m_entry(a->m->domain, gfn(entry >> 12 & 0xffffffffff));
	if (s->kind.level == 1 && (!p || p->mfn != PTE_ADDR(s->table[i]) >> 12))
		differ(a, "shadow of table %lx: entry %u leads to frame %lx, the guest's is %lx",
		       s->gfn, i, PTE_ADDR(s->table[i]) >> 12, entry);
	if ((entry & 0x21) != 0x21 || (s->table[i] & PTE_U && !(entry & 4)) ||
	    (s->table[i] & PTE_W && !may_write(a, s, entry)))
		differ(a, "shadow of table %lx, level %u: entry %u is %lx, the guest's is %lx",
		       s->gfn, s->kind.level, i, s->table[i], entry);
}

static bool
is_table(struct audit *a, uint64_t g)
{
	for (unsigned slot = 1; slot < a->m->count; slot++) {
		const struct shadow *s = shadow_at_slot(a->m, slot);

		if (s->used && s->gfn == g && s->kind.format != SHADOW_DIRECT)
			return true;
	}
	return false;
}

static void
check_pool(struct audit *a)
{
	unsigned used = 0;

	for (unsigned slot = 0; slot < a->m->count; slot++) {
		const struct shadow *s = shadow_at_slot(a->m, slot);
		const struct p2m_entry *p = p2m_entry(a->m->domain, gfn(s->gfn));
		unsigned present = 0;

		preempt_point();
		if (!slot && !a->m->on) /* the flat map's, and of no list */
			continue;
		for (unsigned i = 0; i < 512; i++) {
			present += !!s->table[i];
			if (s->table[i] & PTE_WINDOW)
				check_window(a, a->m->domain->window + (i % 2 << 21), s->table[i]);
			if (!(s->table[i] & PTE_P) || s->table[i] & PTE_WINDOW)
				continue;
			a->present++;
			if (slot && s->used)
				check_entry(a, s, i);
			if (!s->used)
				differ(a, "a shadow that is free has an entry");
		}
		if (slot && present != s->present)
			differ(a, "a shadow of frame %lx has %u entries, and counts %u", s->gfn,
			       present, s->present);
		if (!slot || !s->used)
			continue;
		used++;
		if (s->kind.format != SHADOW_DIRECT &&
		    (p && p->type == P2M_RAM && !(p->track & 1 << TRACK_PAGE_TABLE)))
			differ(a, "frame %lx has a shadow and is not tracked", s->gfn);
	}
	if (used != a->m->live)
		differ(a, "%u shadows are in use, %u are counted", used, a->m->live);
}

/* Follows a list: how many entries it has that lead to `target`. */
static void
check_list(struct audit *a, uint32_t id, uint64_t target)
{
	while (id && a->present) {
		const struct shadow *s = shadow_at_slot(a->m, (id - 1) / 512);

		if (PTE_ADDR(s->table[(id - 1) % 512]) >> 12 != target)
			differ(a, "an entry is in the list of frame %lx, and leads elsewhere",
			       target);
		a->present--;
		id = s->links[(id - 1) % 512].next;
	}
}

static void
check_lists(struct audit *a)
{
	struct domain *d = a->m->domain;

	for (uint64_t g = 0; g < d->ram >> PAGE_SHIFT; g++) {
		const struct p2m_entry *p = p2m_entry(d, gfn(g));

		if (g % 256 == 0)
			preempt_point();
		if (!p || p->type != P2M_RAM)
			continue;
		check_list(a, a->m->heads[g / 1024][g % 1024], p->mfn);
		if (p->track & 1 << TRACK_PAGE_TABLE && !is_table(a, g))
			differ(a, "frame %lx is tracked, and has no shadow", g);
	}
	for (unsigned slot = 1; slot < a->m->count; slot++)
		if (shadow_at_slot(a->m, slot)->used)
			check_list(a, shadow_at_slot(a->m, slot)->parents,
				   ptr_mfn(shadow_at_slot(a->m, slot)->table).v);
	if (a->present)
		differ(a, "%lu entries are in no list", a->present);
}

static void
shadow_audit(struct vcpu *v, struct audit_report *report)
{
	struct audit a = { shadow_of(v), &v->state, report, 0 };

	vcpu_need(v, STATE_CR);
	if (a.m->on && v->state.efer & EFER_LMA)
		check_top(&a);
	else if (a.m->on)
		check_reach(&a);
	check_pool(&a);
	check_lists(&a);
}

static bool
has_shadows(struct vcpu *v)
{
	return !v->domain->nested_format && shadow_of(v);
}

static const struct auditor shadow_auditor = {
	.what = "shadows",
	.is_for = has_shadows,
	.audit = shadow_audit,
	.damage = shadow_damage,
};

static void
add(void)
{
	auditor_add(&shadow_auditor);
}
INITCALL(50, add);

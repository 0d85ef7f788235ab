/*
 * The auditor of nested tables: what they map is what the p2m gives the guest, with no more rights.
 * It shares no code with what it audits: no walk, no format.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <kern/frame.h>
#include <kern/map.h>
#include <kern/thread.h>
#include <vmm/domain.h>
#include <vmm/mem/mmu.h>
#include <vmm/mem/p2m.h>
#include <vmm/mem/ram.h>
#include <trials/nested/audit.h>

#define ADDRESS 0x000ffffffffff000ul
#define ALL     7ul /* read, write, execute; or P, W, U */
#define WRITE   2ul
#define LARGE   0x80ul
#define ROM_END 0x100000u /* gfn: 4 GiB */

struct audit {
	struct audit_report *report;
	struct domain *d;
	uint64_t memory, accessed, dirty; /* a page's memory type; what the CPU marks */
	uint64_t frames;                  /* that are mapped */
};

/* All that an entry may have beside an address, in this format. */
static bool
is_right(const struct audit *a, uint64_t entry, unsigned level, bool page)
{
	uint64_t marks = a->accessed | (page ? a->dirty | WRITE : 0);
	uint64_t wanted = ALL | (page ? a->memory | (level > 1 ? LARGE : 0) : 0);

	return ((entry ^ wanted) & ~(ADDRESS | marks)) == 0;
}

/* Of a guest with Xen's services: a page that it shares with Zeno, or another's, used so. */
static bool
is_shown(const struct audit *a, const struct frame *f, bool writes)
{
	if (!a->d->pv)
		return false;
	if (f->type != FRAME_GUEST)
		return f->owner == a->d->id && f->type_refs;
	return writes ? f->type_refs : f->refs;
}

/*
 * Frame m, for what the p2m has at p: the guest's own RAM, of which PAM protects some, or what
 * nobody has and may be read.
 */
static bool
may_map(const struct audit *a, const struct p2m_entry *p, uint64_t m, bool writes)
{
	const struct frame *f = frame_of(mfn(m));

	if (!p || p->mfn != m || !f || (writes && p->track))
		return false;
	if (p->type == P2M_ONES && (writes || f->type != FRAME_GUEST))
		return !writes;
	if (p->type != P2M_RAM && p->type != P2M_ONES)
		return false;
	return (f->type == FRAME_GUEST && f->owner == a->d->id) || is_shown(a, f, writes);
}

static void
check_page(struct audit *a, uint64_t entry, unsigned level, uint64_t g)
{
	uint64_t count = 1ul << 9 * (level - 1), m = (entry & ADDRESS) >> 12;

	a->frames += count;
	if (!is_right(a, entry, level, true) || m % count)
		audit_differs(a->report, "frame %lx: the entry is %lx at level %u", g, entry,
			      level);
	for (uint64_t n = 0; n < count; n++) {
		const struct p2m_entry *p = p2m_entry(a->d, gfn(g + n));

		if (may_map(a, p, m + n, entry & WRITE))
			continue;
		audit_differs(a->report, "frame %lx leads to %lx, flags %lx; p2m %lx, tracked %x",
			      g + n, m + n, entry & ~ADDRESS, p ? (uint64_t)p->mfn : 0,
			      p ? p->track : 0);
		return;
	}
}

/*
 * Tables of the mode "flat" have their domain as owner. Those that are made by violation have the
 * host (exercise 5.1 makes them so): whose they are is not looked at then, but for another guest's,
 * and an entry that leads to an empty frame of the host's is as good as a table without pages.
 */
static bool
may_be_table(const struct audit *a, const struct frame *f)
{
	if (!f || f->type != FRAME_HOST)
		return false;
	return f->owner == a->d->id || (a->d->mmu->touch && f->owner == OWNER_HOST);
}

static void
check_table(struct audit *a, uint64_t m, unsigned level, uint64_t g)
{
	const uint64_t *table;

	if (!may_be_table(a, frame_of(mfn(m)))) {
		audit_differs(a->report, "frame %lx: its table is none of this guest's", g);
		return;
	}
	preempt_point();
	table = mfn_ptr(mfn(m));
	for (uint64_t i = 0; i < 512; i++) {
		uint64_t entry = table[i], at = g + (i << 9 * (level - 1));

		if (!(entry & ALL) && entry)
			audit_differs(a->report, "frame %lx: of an entry that is not there %lx", at,
				      entry);
		if (!(entry & ALL))
			continue;
		if (level == 1 || (level < 4 && entry & LARGE)) {
			check_page(a, entry, level, at);
			continue;
		}
		if (is_right(a, entry, level, false))
			check_table(a, (entry & ADDRESS) >> 12, level - 1, at);
		else
			audit_differs(a->report, "frame %lx: a table's entry is %lx", at, entry);
	}
}

/*
 * What no entry maps comes back by a violation, or the guest does not get it at all. Up to the end
 * of its RAM, or of firmware's ROM.
 */
static void
check_all_there(struct audit *a)
{
	uint64_t frames = 0, end = ram_end(a->d) < ROM_END ? ROM_END : ram_end(a->d);

	for (uint64_t g = 0; g < end; g++) {
		const struct p2m_entry *p = p2m_entry(a->d, gfn(g));

		if (!p)
			g |= P2M_LEAF_ENTRIES - 1; /* nor any behind it in the same leaf */
		frames += p && (p->type == P2M_RAM || p->type == P2M_ONES);
	}
	if (frames != a->frames)
		audit_differs(a->report, "%lu frames are mapped, the p2m has %lu", a->frames,
			      frames);
}

/* SDM 3C tables 29-6, 29-7: write-back, A and D. APM 2 5.3.4: as the host's own. */
static void
nested_audit(struct vcpu *v, struct audit_report *report)
{
	bool is_ept = !strcmp(v->engine->name, "vmx");
	struct audit a = { report,
			   v->domain,
			   is_ept ? 6ul << 3 : 0,
			   is_ept ? 0x100 : 0x20,
			   is_ept ? 0x200 : 0x40,
			   0 };

	for_each_vcpu(u, v->domain) if (u->root.v != v->root.v)
		audit_differs(report, "CPU %u has other tables", u->number);
	check_table(&a, v->root.v, 4, 0);
	if (!v->domain->mmu->touch)
		check_all_there(&a);
}

static bool
has_nested(struct vcpu *v)
{
	return v->domain->mmu && v->domain->mmu->nested_init && mfn_ok(v->root);
}

static const struct auditor nested_auditor = {
	.what = "nested tables",
	.is_for = has_nested,
	.audit = nested_audit,
	.damage = nested_damage,
};

static void
add(void)
{
	auditor_add(&nested_auditor);
}
INITCALL(50, add);

/*
 * The auditor's place in the monitor, and its trial: what a guest that has ended has left is broken
 * in ten ways, one at a time, and each must be seen. All is put right again.
 */
#include <vmm/engine.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/shared.h>
#include <trials/pv/audit.h>

static uint64_t state;

static uint64_t
pick(uint64_t below)
{
	state = state * 6364136223846793005ul + 1442695040888963407ul;
	return (state >> 33) % below;
}

/* A frame of the domain's that is of this type, from a random one on. */
static uint64_t
some_frame(const struct pv_types *t, unsigned type)
{
	uint64_t start = pick(frame_count);

	for (uint64_t n = 0; n < frame_count; n++) {
		uint64_t m = (start + n) % frame_count;

		if (frames[m].owner == t->owner && frames[m].type == FRAME_GUEST &&
		    frames[m].page_type == type)
			return m;
	}
	return 0;
}

/* An entry of such a table, of level 1 or 2, present or not; the first where there is none. */
static pte_t *
some_entry(const struct pv_types *t, unsigned level, bool present)
{
	pte_t *table = mfn_ptr(mfn(some_frame(t, level)));
	unsigned start = (unsigned)pick(PV_ENTRIES);

	for (unsigned n = 0; n < PV_ENTRIES; n++)
		if ((table[(start + n) % PV_ENTRIES] & PTE_P) == present)
			return &table[(start + n) % PV_ENTRIES];
	return table;
}

static void
seen(struct vcpu *v, const char *what)
{
	printf("damage: %s: %s\n", what, audit_finds(v) ? "seen" : "not seen");
}

static void
try(struct vcpu *v, const char *what, pte_t *at, pte_t entry)
{
	pte_t saved = *at;

	*at = entry;
	seen(v, what);
	*at = saved;
}

static void
damage_frames(struct vcpu *v, const struct pv_types *t)
{
	struct frame *f = &frames[some_frame(t, PV_L1)], saved = *f;

	f->type_refs++;
	seen(v, "a use too many");
	*f = saved;
	f->refs--;
	seen(v, "a reference too few");
	*f = saved;
	f->page_type = PV_ORDINARY;
	seen(v, "a table that is memory");
	*f = saved;
	f->pinned ^= 1;
	seen(v, "a pin");
	*f = saved;
}

void
pv_damage(struct vcpu *v, uint64_t seed)
{
	const struct pv_types *t = pv_of(v)->types;
	pte_t *leaf, *below, *hole;

	state = seed;
	leaf = some_entry(t, PV_L1, true);
	below = some_entry(t, PV_L2, true);
	hole = (pte_t *)mfn_ptr(pv_of(v)->kernel_root) + HOLE_FIRST_SLOT + pick(PV_HOLE);
	try(v, "a table that can be written", leaf,
	    some_frame(t, PV_L1 + (unsigned)pick(4)) << PAGE_SHIFT | PTE_P | PTE_W | PTE_U);
	try(v, "a page of Zeno's", leaf, mfn_to_hpa(host_root).v | PTE_P | PTE_U);
	try(v, "a page that is lost", leaf, 0);
	try(v, "a table that is there twice", some_entry(t, PV_L2, false), *below);
	try(v, "a large page", below, *below | PTE_PS);
	try(v, "a slot of the hole", hole, *hole ^ PTE_U);
	damage_frames(v, t);
}

static bool
is_pv(struct vcpu *v)
{
	return !strcmp(v->engine->name, "pv") && v->engine_data && mfn_ok(pv_of(v)->kernel_root);
}

/* Memory that Zeno writes to for the guest is in use, and no table says so (pv_hold()). */
static void
count_held(struct vcpu *v, uint32_t step)
{
	const struct pv_domain *pd = pv_domain_of(v->domain);

	for (unsigned n = 0; n < pd->held_count; n++)
		frames[pd->held[n].v].type_refs += step;
}

void
pv_all_types(const struct pv_types *all[DOMAIN_MAX + 1])
{
	for (unsigned id = 1; id <= DOMAIN_MAX; id++) {
		const struct domain *d = domain_find(id);

		if (d && d->vcpu && is_pv(d->vcpu))
			*all++ = pv_of(d->vcpu)->types;
	}
	*all = NULL;
}

static void
audit(struct vcpu *v, struct audit_report *report)
{
	const struct pv *pv = pv_of(v);
	mfn_t roots[2 * PV_VCPUS];
	const struct pv_types *all[DOMAIN_MAX + 1];
	unsigned count = 0;

	for_each_vcpu(each, v->domain)
	{
		roots[count++] = pv_of(each)->kernel_root;
		roots[count++] = pv_of(each)->user_root;
	}
	pv_all_types(all);
	count_held(v, -1u);
	pv_domain_count(-1u);
	pv_recount(pv->types, roots, count, all, report);
	pv_domain_count(1);
	count_held(v, 1);
}

static const struct auditor pv_auditor = {
	.what = "types", .is_for = is_pv, .audit = audit, .damage = pv_damage
};

static void
add(void)
{
	auditor_add(&pv_auditor);
}
INITCALL(50, add);

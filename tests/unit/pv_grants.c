/* BUILD: solutions/6-pv/types.c vmm/pv/grant/handles.c solutions/8-grants/entry.c
 * solutions/8-grants/map.c solutions/8-grants/copy.c solutions/8-grants/ends.c trials/pv/audit.c
 * trials/grants/recount.c
 * -DDIRECT_MAP=0x200000000000ul */
/*
 * Grants: domains that grant, map, copy, change what they have granted, and end, at random, beside
 * a model; and behind each step the auditors.
 */
#include "draw.h"
#include "pv_grants.h"

#define REFS  6u
#define STEPS 30000u
#define FLAT  (PTE_P | PTE_W | PTE_U)

/* ---- the model: mappings in a list ---- */

static struct mapping {
	unsigned by, of; /* of 0: its granter has ended */
	uint32_t handle, ref, flags, mfn;
	pte_t *at;
} mapping[2000];
static unsigned mappings;

static unsigned
parts(uint32_t flags)
{
	return !!(flags & HOST) + !!(flags & DEVICE);
}

struct uses {
	unsigned readers, writers, user, mfn;
};

static struct uses
uses_of(unsigned of, uint32_t ref)
{
	struct uses u = { 0 };

	for (unsigned n = 0; n < mappings; n++)
		if (mapping[n].of == of && mapping[n].ref == ref) {
			*(mapping[n].flags & READ ? &u.readers : &u.writers) +=
				parts(mapping[n].flags);
			u.user = mapping[n].by;
			u.mfn = mapping[n].mfn;
		}
	return u;
}

static int
expect_use(unsigned by, unsigned of, uint32_t ref, bool writes, unsigned count, uint32_t *m)
{
	struct uses u = uses_of(of, ref);
	bool used = u.readers || u.writers;
	volatile struct xen_grant_entry *e;

	if (ref >= tables[of].frames * PV_FRAME_GRANTS)
		return XEN_GNTST_bad_gntref;
	e = entry(of, ref);
	if (used && (u.user != by || (writes ? u.writers : u.readers) + count > 255))
		return XEN_GNTST_general_error;
	if ((!used || (writes && !u.writers)) &&
	    ((e->flags & 3) != 1 || e->flags & XEN_GTF_sub_page || e->domid != grants[by].name ||
	     (writes && e->flags & XEN_GTF_readonly)))
		return XEN_GNTST_general_error;
	*m = used ? u.mfn : e->frame;
	if (*m >= FRAMES || frame[*m].owner != of || frame[*m].type != FRAME_GUEST ||
	    (writes && frame[*m].page_type))
		return XEN_GNTST_bad_page;
	return 0;
}

static unsigned counts[16];

static void
agrees(unsigned kind, int got, int wanted, const char *what)
{
	counts[2 * kind + !got]++;
	if (got != wanted && !wrong++)
		diag("%s: %d, not %d", what, got, wanted);
}

static uint32_t
some_ref(void)
{
	static const uint32_t beyond[] = { 511, 512, 513, 1023, 1024, 16384, ~0u };

	return (uint32_t)(draw(8) ? draw(REFS) : beyond[draw(7)]);
}

static void
map_some(void)
{
	unsigned by = (unsigned)(1 + draw(DOMS)), of = (unsigned)(1 + draw(DOMS));
	static const uint32_t flags[] = { HOST, HOST | READ, DEVICE, DEVICE | READ,
					  BOTH, BOTH | READ, 0,      READ };
	struct xen_gnttab_map_grant_ref m = { .ref = some_ref(), .flags = flags[draw(8)] };
	pte_t *at;
	uint32_t frame_of_it = 0;
	int wanted, got;

	for (unsigned id = 1; draw(4) && m.ref < REFS && id <= DOMS; id++)
		if (grants[id].name == entry(of, m.ref)->domid)
			by = id;
	at = draw(10) ? slot(by, (unsigned)draw(SLOTS)) : NULL;

	wanted = expect_use(by, of, m.ref, !(m.flags & READ), parts(m.flags), &frame_of_it);
	if (m.flags & HOST && !at)
		wanted = XEN_GNTST_bad_virt_addr;
	if (!parts(m.flags))
		wanted = XEN_GNTST_bad_gntref;
	got = pv_grant_map(&grants[by], &grants[of], at, &m);
	agrees(0, got, wanted, "map");
	if (got)
		return;
	if (mappings == 2000)
		bail_out("too many mappings");
	mapping[mappings++] = (struct mapping){ by, of, m.handle, m.ref, m.flags, frame_of_it, at };
	if (m.flags & DEVICE && m.dev_bus_addr != (uint64_t)frame_of_it << PAGE_SHIFT)
		wrong++;
	if (m.flags & HOST &&
	    (PTE_ADDR(*at) >> PAGE_SHIFT != frame_of_it || !(*at & PTE_W) != !!(m.flags & READ)))
		wrong++;
}

static void
unmap_some(void)
{
	unsigned n = mappings ? (unsigned)draw(mappings) : 0;
	struct mapping *g = &mapping[n];
	struct xen_gnttab_unmap_grant_ref u = { .handle = (uint32_t)draw(40) };
	unsigned by = (unsigned)(1 + draw(DOMS));
	pte_t *at = slot(by, (unsigned)draw(SLOTS));
	int wanted = 0, got;
	uint32_t asked;

	if (mappings && draw(8)) { /* one that it has, and where it was */
		u.handle = g->handle;
		by = g->by;
		at = draw(6) && g->at ? g->at : draw(6) ? slot(by, (unsigned)draw(SLOTS)) : NULL;
	}
	for (n = 0; n < mappings && !(mapping[n].by == by && mapping[n].handle == u.handle); n++)
		;
	g = &mapping[n];
	u.host_addr = draw(4) ? 1 : 0;
	u.dev_bus_addr = draw(2) ? 0 : n < mappings ? (uint64_t)g->mfn << PAGE_SHIFT : 77;
	if (n == mappings)
		wanted = XEN_GNTST_bad_handle;
	asked = n == mappings
			? 0
			: g->flags & ((u.host_addr ? HOST : 0) | (u.dev_bus_addr ? DEVICE : 0));
	if (asked & DEVICE && !draw(5)) {
		u.dev_bus_addr ^= PAGE_SIZE;
		wanted = XEN_GNTST_bad_dev_addr;
	} else if (asked & HOST && !at)
		wanted = XEN_GNTST_bad_virt_addr;
	else if (asked & HOST && (!(*at & PTE_P) || PTE_ADDR(*at) >> PAGE_SHIFT != g->mfn ||
				  !(*at & PTE_W) != !!(g->flags & READ)))
		wanted = XEN_GNTST_general_error;
	got = pv_grant_unmap(&grants[by], &u, at, 0);
	agrees(1, got, wanted, "unmap");
	if (got || !asked)
		return;
	if (asked & HOST && *at)
		wrong++;
	g->flags &= ~asked;
	if (!parts(g->flags))
		*g = mapping[--mappings];
}

static void
copy_some(void)
{
	unsigned by = (unsigned)(1 + draw(DOMS)), end[2] = { by, by };
	static uint8_t was[PAGE_SIZE];
	struct xen_gnttab_copy c = { .flags = (uint16_t)draw(4) };
	struct xen_gnttab_copy_ptr *p[2] = { &c.source, &c.dest };
	uint32_t m[2] = { 0, 0 };
	int wanted = 0, got;

	c.len = (uint16_t)(draw(4) ? draw(64) : draw(2 * PAGE_SIZE));
	for (unsigned n = 0; n < 2; n++) {
		if (c.flags >> n & 1 || !draw(20))
			end[n] = (unsigned)draw(DOMS + 1);
		p[n]->offset = (uint16_t)(draw(4) ? draw(64) : draw(2 * PAGE_SIZE));
		p[n]->what = c.flags >> n & 1 ? some_ref() | draw(2) << 32
					      : first_of(by) + draw(draw(4) ? OWN : FRAMES);
	}
	for (unsigned n = 0; n < 2;
	     n++) /* who is nobody is known so before the rest is looked at */
		if (!(c.flags >> n & 1) && end[n] != by)
			wanted = XEN_GNTST_permission_denied;
	for (unsigned n = 0; n < 2; n++)
		if (!wanted && p[n]->offset + c.len > PAGE_SIZE)
			wanted = XEN_GNTST_bad_copy_arg;
	for (unsigned n = 0; n < 2 && !wanted; n++) {
		m[n] = (uint32_t)p[n]->what;
		if (!end[n])
			wanted = XEN_GNTST_bad_domain;
		else if (c.flags >> n & 1)
			wanted = expect_use(by, end[n], (uint32_t)p[n]->what, n, 1, &m[n]);
		else if (m[n] >= FRAMES || frame[m[n]].owner != by ||
			 frame[m[n]].type != FRAME_GUEST || (n && frame[m[n]].page_type))
			wanted = XEN_GNTST_bad_page;
	}
	if (!wanted)
		memcpy(was, (uint8_t *)mfn_ptr(mfn(m[0])) + c.source.offset, c.len);
	got = pv_grant_copy(&grants[by], end[0] ? &grants[end[0]] : NULL,
			    end[1] ? &grants[end[1]] : NULL, &c);
	agrees(2, got, wanted, "copy");
	if (!got && memcmp(was, (uint8_t *)mfn_ptr(mfn(m[1])) + c.dest.offset, c.len) && !wrong++)
		diag("copy: other bytes");
}

/* What the guest does by itself: an entry, if nobody uses it, or all the same. */
static void
grant_some(void)
{
	unsigned id = (unsigned)(1 + draw(DOMS));
	volatile struct xen_grant_entry *e = entry(id, (uint32_t)draw(REFS));
	bool in_use = e->flags & (XEN_GTF_reading | XEN_GTF_writing);

	if (in_use && id != DOMS)
		return;
	e->flags = 0;
	e->domid = draw(12) ? grants[1 + draw(DOMS)].name : (uint16_t)draw(65536);
	e->frame = (uint32_t)(draw(10) ? first_of(id) + draw(OWN) : draw(draw(2) ? FRAMES : ~0u));
	if (e->frame == first_of(id)) /* without which it could not begin again */
		e->frame++;
	e->flags = (uint16_t)(draw(8) ? 1 | draw(2) << 2 : draw(65536));
	if (id != DOMS)
		e->flags &= (uint16_t) ~(XEN_GTF_reading | XEN_GTF_writing);
	counts[14]++;
}

/* An entry of its table is written, a page becomes a table, or is none any more. */
static void
type_some(void)
{
	unsigned id = (unsigned)(1 + draw(DOMS)), m = first_of(id) + 1 + (unsigned)draw(OWN - 1);
	unsigned budget = ~0u;

	if (frame[m].owner != id)
		return;
	switch (draw(4)) {
	case 0:
		if (!frame[m].pinned) {
			memset(mfn_ptr(mfn(m)), 0, PAGE_SIZE);
			frame[m].pinned = !pv_type_get(&types[id], mfn(m), PV_L1, &budget);
		}
		return;
	case 1:
		if (frame[m].pinned) {
			frame[m].pinned = 0;
			pv_type_put(&types[id], mfn(m));
			pv_type_settle(&types[id], &budget);
		}
		return;
	default: /* over what is there, a grant maybe */
		pv_type_write(&types[id], PV_L1, slot(id, (unsigned)draw(SLOTS)),
			      draw(2) ? 0 : (pte_t)m << PAGE_SHIFT | FLAT, &budget);
	}
}

/* All that the model knows of it is gone, or its granter is. */
static void
end_some(void)
{
	unsigned id = (unsigned)(1 + draw(DOMS)), n = 0;

	counts[15]++;
	if (end(id) && !wrong++)
		diag("d%u has ended, and its frames are used", id);
	while (n < mappings)
		if (mapping[n].by == id) {
			mapping[n] = mapping[--mappings];
		} else {
			if (mapping[n].of == id)
				mapping[n].of = 0;
			n++;
		}
	for (n = 0; n < OWN; n++) { /* none is free too early, none too late */
		unsigned used = 0, m = first_of(id) + n;

		for (unsigned i = 0; i < mappings; i++)
			used += mapping[i].mfn == m && !mapping[i].of;
		if ((frame[m].type == FRAME_GUEST) != !!used && !wrong++)
			diag("frame %u is used %u times, and is a %u", m, used, frame[m].type);
	}
	begin(id);
}

/* Who keeps the rules finds in an entry whether it is in use. */
static void
check_bits(void)
{
	for (unsigned id = 1; id < DOMS; id++)
		for (uint32_t ref = 0; ref < REFS; ref++) {
			struct uses u = uses_of(id, ref);
			uint16_t bits = entry(id, ref)->flags;

			if ((!(bits & XEN_GTF_reading) != !(u.readers || u.writers) ||
			     !(bits & XEN_GTF_writing) != !u.writers) &&
			    !wrong++)
				diag("d%u, grant %u: %x with %u readers, %u writers", id, ref, bits,
				     u.readers, u.writers);
		}
}

static void
at_random(void)
{
	unsigned kinds = 0;

	for (unsigned step = 0; step < STEPS && !wrong; step++) {
		switch (draw(32)) {
		case 0 ... 8:
			map_some();
			break;
		case 9 ... 16:
			unmap_some();
			break;
		case 17 ... 22:
			copy_some();
			break;
		case 23 ... 28:
			grant_some();
			break;
		case 29 ... 30:
			type_some();
			break;
		default:
			if (draw(8) == 0)
				end_some();
		}
		check_bits();
		if (step % 4 == 0 && differences() && !wrong++)
			diag("step %u: %s", step, told);
	}
	for (unsigned n = 0; n < 6; n++)
		kinds += counts[n] > 200;
	diag("maps %u, refused %u; unmaps %u, refused %u; copies %u, refused %u; ends %u",
	     counts[1], counts[0], counts[3], counts[2], counts[5], counts[4], counts[15]);
	is_u64(wrong, 0, "%u steps: the model and the auditors agree", STEPS);
	is_u64(kinds, 6, "of which there were some of each kind");
	for (unsigned id = 1; id <= DOMS; id++)
		wrong += end(id);
	mappings = 0;
	is_u64(wrong + pv_orphans, 0, "and at the end nothing is used, and nothing left");
	for (unsigned id = 1; id <= DOMS; id++)
		begin(id);
}

int
main(void)
{
	four_domains();
	at_random();
	return done_testing();
}

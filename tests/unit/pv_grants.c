/* BUILD: solutions/6-pv/types.c vmm/pv/grant/handles.c solutions/8-grants/entry.c
 * solutions/8-grants/map.c solutions/8-grants/copy.c solutions/8-grants/ends.c trials/pv/audit.c
 * trials/grants/recount.c
 * -DDIRECT_MAP=0x200000000000ul */
/*
 * Grants: domains that grant, map, copy, change what they have granted, and end, at random, beside
 * a model; and behind each step the auditors. Then entries that change between any two accesses to
 * them: the page that they are on is not there, and each access is a signal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <trials/grants/recount.h>
#include <trials/pv/audit.h>

#include "tap.h"

#define FRAMES 400u
#define OWN    12u /* of each domain; the first is a table of level 1 */
#define DOMS   4u  /* 1 to 4; 4 keeps no rules */
#define REFS   6u
#define SLOTS  8u
#define STEPS  30000u
#define FLAT   (PTE_P | PTE_W | PTE_U)

static struct frame frame[FRAMES];
struct frame *frames = frame;
uint64_t frame_count = FRAMES;

static struct pv_types types[DOMS + 1];
static struct pv_grants grants[DOMS + 1];
static struct pv_grant_table tables[DOMS + 1];
static bool flush;
static uint64_t seed = 20261130;
static char told[200];

static uint64_t
next(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

void
preempt_point(void)
{
}

void
audit_differs(struct audit_report *report, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(told, sizeof(told), fmt, ap);
	va_end(ap);
	report->found++;
}

/* ---- frames: those from 200 on are Zeno's to take ---- */

mfn_t
frame_alloc(enum frame_type type, uint16_t owner)
{
	for (unsigned m = 200; m < FRAMES; m++)
		if (frame[m].type == FRAME_FREE) {
			frame[m] = (struct frame){ .refs = 1, .type = type, .owner = owner };
			memset(mfn_ptr(mfn(m)), 0, PAGE_SIZE);
			return mfn(m);
		}
	return MFN_NONE;
}

void
frame_put(mfn_t m)
{
	if (!frame[m.v].refs || --frame[m.v].refs)
		bail_out("frame %lu is freed, and has uses", m.v);
	frame[m.v] = (struct frame){ .type = FRAME_FREE };
}

void
pv_orphan_free(mfn_t m)
{
	frame[m.v].refs = 1;
	frame_put(m);
	pv_orphans--;
}

static unsigned
first_of(unsigned id)
{
	return id * 20;
}

static pte_t *
slot(unsigned id, unsigned n)
{
	return (pte_t *)mfn_ptr(mfn(first_of(id))) + n;
}

static volatile struct xen_grant_entry *
entry(unsigned id, uint32_t ref)
{
	return &tables[id].frame[ref / PV_FRAME_GRANTS][ref % PV_FRAME_GRANTS];
}

/* It has memory that nobody uses; or some of it is another's still, and so is not its. */
static void
begin(unsigned id)
{
	unsigned budget = ~0u, m = first_of(id);

	memset(&grants[id], 0, sizeof(grants[id]));
	memset(&types[id], 0, sizeof(types[id]));
	types[id] = (struct pv_types){ .owner = (uint16_t)id, .flush = &flush };
	grants[id] = (struct pv_grants){ .owner = (uint16_t)id,
					 .name = id == 1 ? 0 : (uint16_t)id,
					 .types = &types[id],
					 .table = &tables[id],
					 .free_handle = PV_NO_HANDLE };
	for (unsigned n = 0; n < OWN; n++)
		if (frame[m + n].type != FRAME_GUEST) {
			frame[m + n] = (struct frame){ .refs = 1,
						       .owner = (uint16_t)id,
						       .type = FRAME_GUEST };
			memset(mfn_ptr(mfn(m + n)), (int)(m + n), PAGE_SIZE);
		}
	memset(slot(id, 0), 0, PAGE_SIZE);
	for (unsigned n = 0; n < 2; n++)
		memset((void *)tables[id].frame[n], 0, PAGE_SIZE);
	if (pv_type_get(&types[id], mfn(m), PV_L1, &budget))
		bail_out("no table");
	frame[m].pinned = 1;
	pv_grants_of[id] = &grants[id];
}

/* As Zeno ends a domain; what somebody uses stays. Its frames that are not free then. */
static unsigned
end(unsigned id)
{
	unsigned budget = ~0u, m = first_of(id), left = 0;

	for (unsigned n = 0; n < OWN; n++)
		if (frame[m + n].pinned && frame[m + n].owner == id) {
			frame[m + n].pinned = 0;
			pv_type_put(&types[id], mfn(m + n));
			pv_type_settle(&types[id], &budget);
		}
	pv_grants_unmap_all(&grants[id]);
	pv_grants_orphan(&grants[id]);
	for (unsigned n = 0; n < OWN; n++)
		if (frame[m + n].owner == id) {
			left += frame[m + n].refs != 1 || frame[m + n].type_refs ||
				frame[m + n].page_type;
			frame_put(mfn(m + n));
		}
	pv_grants_of[id] = NULL;
	for (unsigned n = 0; n < PV_GRANT_FRAMES; n++)
		host_page_put(grants[id].active[n]);
	for (unsigned n = 0; n < PV_HANDLE_FRAMES; n++)
		host_page_put(grants[id].handle[n]);
	return left;
}

static unsigned
differences(void)
{
	const struct pv_types *all[DOMS + 1];
	struct audit_report report = { 0 };
	struct frame before[FRAMES];
	unsigned count = 0;

	memcpy(before, frame, sizeof(frame));
	for (unsigned id = 1; id <= DOMS; id++)
		if (pv_grants_of[id])
			all[count++] = &types[id];
	all[count] = NULL;
	pv_grants_recount(all, &report);
	for (unsigned id = 1; id <= DOMS; id++)
		if (pv_grants_of[id])
			pv_grants_count(&grants[id], -1u);
	for (unsigned n = 0; n < count; n++)
		pv_recount(all[n], NULL, 0, all, &report);
	for (unsigned id = 1; id <= DOMS; id++)
		if (pv_grants_of[id])
			pv_grants_count(&grants[id], 1);
	if (memcmp(before, frame, sizeof(frame)))
		bail_out("the auditors have changed something");
	return report.found;
}

/* ---- the model: mappings in a list ---- */

static struct mapping {
	unsigned by, of; /* of 0: its granter has ended */
	uint32_t handle, ref, flags, mfn;
	pte_t *at;
} mapping[2000];
static unsigned mappings;

#define HOST   XEN_GNTMAP_host_map
#define DEVICE XEN_GNTMAP_device_map
#define BOTH   (HOST | DEVICE)
#define READ   XEN_GNTMAP_readonly

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

static unsigned counts[16], wrong;

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

	return (uint32_t)(next(8) ? next(REFS) : beyond[next(7)]);
}

static void
map_some(void)
{
	unsigned by = (unsigned)(1 + next(DOMS)), of = (unsigned)(1 + next(DOMS));
	static const uint32_t flags[] = { HOST, HOST | READ, DEVICE, DEVICE | READ,
					  BOTH, BOTH | READ, 0,      READ };
	struct xen_gnttab_map_grant_ref m = { .ref = some_ref(), .flags = flags[next(8)] };
	pte_t *at;
	uint32_t frame_of_it = 0;
	int wanted, got;

	for (unsigned id = 1; next(4) && m.ref < REFS && id <= DOMS; id++)
		if (grants[id].name == entry(of, m.ref)->domid)
			by = id;
	at = next(10) ? slot(by, (unsigned)next(SLOTS)) : NULL;

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
	unsigned n = mappings ? (unsigned)next(mappings) : 0;
	struct mapping *g = &mapping[n];
	struct xen_gnttab_unmap_grant_ref u = { .handle = (uint32_t)next(40) };
	unsigned by = (unsigned)(1 + next(DOMS));
	pte_t *at = slot(by, (unsigned)next(SLOTS));
	int wanted = 0, got;
	uint32_t asked;

	if (mappings && next(8)) { /* one that it has, and where it was */
		u.handle = g->handle;
		by = g->by;
		at = next(6) && g->at ? g->at : next(6) ? slot(by, (unsigned)next(SLOTS)) : NULL;
	}
	for (n = 0; n < mappings && !(mapping[n].by == by && mapping[n].handle == u.handle); n++)
		;
	g = &mapping[n];
	u.host_addr = next(4) ? 1 : 0;
	u.dev_bus_addr = next(2) ? 0 : n < mappings ? (uint64_t)g->mfn << PAGE_SHIFT : 77;
	if (n == mappings)
		wanted = XEN_GNTST_bad_handle;
	asked = n == mappings
			? 0
			: g->flags & ((u.host_addr ? HOST : 0) | (u.dev_bus_addr ? DEVICE : 0));
	if (asked & DEVICE && !next(5)) {
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
	unsigned by = (unsigned)(1 + next(DOMS)), end[2] = { by, by };
	static uint8_t was[PAGE_SIZE];
	struct xen_gnttab_copy c = { .flags = (uint16_t)next(4) };
	struct xen_gnttab_copy_ptr *p[2] = { &c.source, &c.dest };
	uint32_t m[2] = { 0, 0 };
	int wanted = 0, got;

	c.len = (uint16_t)(next(4) ? next(64) : next(2 * PAGE_SIZE));
	for (unsigned n = 0; n < 2; n++) {
		if (c.flags >> n & 1 || !next(20))
			end[n] = (unsigned)next(DOMS + 1);
		p[n]->offset = (uint16_t)(next(4) ? next(64) : next(2 * PAGE_SIZE));
		p[n]->what = c.flags >> n & 1 ? some_ref() | next(2) << 32
					      : first_of(by) + next(next(4) ? OWN : FRAMES);
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
	unsigned id = (unsigned)(1 + next(DOMS));
	volatile struct xen_grant_entry *e = entry(id, (uint32_t)next(REFS));
	bool in_use = e->flags & (XEN_GTF_reading | XEN_GTF_writing);

	if (in_use && id != DOMS)
		return;
	e->flags = 0;
	e->domid = next(12) ? grants[1 + next(DOMS)].name : (uint16_t)next(65536);
	e->frame = (uint32_t)(next(10) ? first_of(id) + next(OWN) : next(next(2) ? FRAMES : ~0u));
	if (e->frame == first_of(id)) /* without which it could not begin again */
		e->frame++;
	e->flags = (uint16_t)(next(8) ? 1 | next(2) << 2 : next(65536));
	if (id != DOMS)
		e->flags &= (uint16_t) ~(XEN_GTF_reading | XEN_GTF_writing);
	counts[14]++;
}

/* An entry of its table is written, a page becomes a table, or is none any more. */
static void
type_some(void)
{
	unsigned id = (unsigned)(1 + next(DOMS)), m = first_of(id) + 1 + (unsigned)next(OWN - 1);
	unsigned budget = ~0u;

	if (frame[m].owner != id)
		return;
	switch (next(4)) {
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
		pv_type_write(&types[id], PV_L1, slot(id, (unsigned)next(SLOTS)),
			      next(2) ? 0 : (pte_t)m << PAGE_SHIFT | FLAT, &budget);
	}
}

/* All that the model knows of it is gone, or its granter is. */
static void
end_some(void)
{
	unsigned id = (unsigned)(1 + next(DOMS)), n = 0;

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
		switch (next(32)) {
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
			if (next(8) == 0)
				end_some();
		}
		check_bits();
		if (step % 4 == 0 && differences() && !wrong++)
			diag("step %u: %s", step, told);
	}
	for (unsigned n = 0; n < 6; n++)
		kinds += counts[n] > 400;
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

/* ---- entries that change meanwhile ---- */

static volatile int seen; /* accesses to the page so far */
static int when, again;   /* ... before which something is written; and every so many */
static struct xen_grant_entry then[2]; /* what is written, by turns */
static void *watched;

static void
on_access(int sig, siginfo_t *info, void *context)
{
	ucontext_t *c = context;
	uint64_t *words = watched;

	if (sig == SIGSEGV && info->si_addr != NULL &&
	    (uint64_t)info->si_addr - (uint64_t)watched >= PAGE_SIZE)
		signal(SIGSEGV, SIG_DFL);
	mprotect(watched, PAGE_SIZE, PROT_READ | PROT_WRITE);
	if (sig == SIGSEGV) {
		seen++;
		if (seen >= when && (again || seen == when))
			memcpy(words, &then[(seen - when) % 2], sizeof(*words));
		c->uc_mcontext.gregs[REG_EFL] |= 0x100;
	} else {
		c->uc_mcontext.gregs[REG_EFL] &= ~0x100ll;
		mprotect(watched, PAGE_SIZE, PROT_NONE);
	}
}

static void
watch(bool on)
{
	seen = 0;
	mprotect(watched, PAGE_SIZE, on ? PROT_NONE : PROT_READ | PROT_WRITE);
}

enum { MAP_READ, MAP_WRITE, COPY_FROM, COPY_TO, WAYS };
static const char *const way_names[] = { "map to read", "map to write", "copy from", "copy to" };

/* Domain 2 uses grant 0 of domain 3: its status. */
static int
use(unsigned way, uint32_t *handle)
{
	struct xen_gnttab_map_grant_ref m = { .flags = HOST | (way == MAP_READ ? READ : 0) };
	struct xen_gnttab_copy c = { .len = 8,
				     .flags = way == COPY_FROM ? XEN_GNTCOPY_source_gref
							       : XEN_GNTCOPY_dest_gref };
	int status;

	*handle = PV_NO_HANDLE;
	if (way >= COPY_FROM) {
		*(way == COPY_FROM ? &c.dest.what : &c.source.what) = first_of(2) + 1;
		return way == COPY_FROM ? pv_grant_copy(&grants[2], &grants[3], &grants[2], &c)
					: pv_grant_copy(&grants[2], &grants[2], &grants[3], &c);
	}
	status = pv_grant_map(&grants[2], &grants[3], slot(2, 0), &m);
	*handle = status ? PV_NO_HANDLE : m.handle;
	return status;
}

static bool
writes(unsigned way)
{
	return way == MAP_WRITE || way == COPY_TO;
}

static bool
is_good(const struct xen_grant_entry *e, unsigned way)
{
	return (e->flags & 3) == 1 && e->domid == 2 && !(writes(way) && e->flags & 4);
}

static bool
is_own(uint32_t m)
{
	return m < FRAMES && frame[m].owner == 3 && frame[m].type == FRAME_GUEST;
}

/* One change, before one access: what was claimed is what was allowed then. */
static void
one_race(unsigned way, struct xen_grant_entry first, struct xen_grant_entry second, int at)
{
	struct xen_gnttab_unmap_grant_ref u = { .host_addr = 1 };
	struct xen_grant_entry wins;
	const struct pv_handle *h;
	uint32_t handle;
	bool allowed;
	int status;

	*(struct xen_grant_entry *)watched = first;
	then[0] = second;
	when = at;
	again = false;
	watch(true);
	status = use(way, &handle);
	if (way >= COPY_FROM)
		wins = at == 1 ? second : first;
	else
		wins = at <= 2 ? second : first;
	allowed = is_good(&wins, way) && is_own(wins.frame) &&
		  !(writes(way) && frame[wins.frame].page_type) &&
		  (at == 1 || is_good(&first, way));
	if ((!status != allowed || seen > 4) && !wrong++)
		diag("%s, changed before access %d of %d: %d", way_names[way], at, seen, status);
	watch(false);
	h = handle == PV_NO_HANDLE ? NULL : pv_handle(&grants[2], handle);
	if (h && h->mfn != wins.frame && !wrong++)
		diag("%s, changed before access %d: frame %u", way_names[way], at, h->mfn);
	if (differences() && !wrong++)
		diag("%s, changed before access %d: %s", way_names[way], at, told);
	u.handle = handle;
	if (h && pv_grant_unmap(&grants[2], &u, slot(2, 0), 0) && !wrong++)
		diag("%s: unmap", way_names[way]);
	/* what the second one said of its use itself, behind the first access, nobody clears */
	if (((volatile struct xen_grant_entry *)watched)->flags & 0x18 && !wrong++)
		diag("%s, changed before access %d: it says that it is in use", way_names[way], at);
}

static void
races(void)
{
	const uint32_t own = first_of(3) + 2;
	const struct xen_grant_entry good = { 1, 2, own };
	const struct xen_grant_entry others[] = {
		{ 0, 2, own },
		{ 1, 4, own },
		{ 1 | XEN_GTF_readonly, 2, own },
		{ 1, 2, own + 1 },
		{ 1, 2, first_of(4) + 1 },
		{ 1, 2, first_of(3) },
		{ 1, 2, ~0u },
		{ 3, 2, own },
		{ 2, 2, own },
		{ 1, 2, 200 },
	};
	unsigned tried = 0;
	uint32_t handle;
	int status;

	struct sigaction on = { .sa_sigaction = on_access, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &on, NULL);
	sigaction(SIGTRAP, &on, NULL);
	watched = (void *)tables[3].frame[0];
	wrong = 0;
	for (unsigned way = 0; way < WAYS; way++)
		for (unsigned n = 0; n < sizeof(others) / sizeof(others[0]); n++)
			for (int at = 1; at < 6; at++, tried += 2) {
				one_race(way, good, others[n], at);
				one_race(way, others[n], good, at);
			}
	is_u64(wrong, 0, "an entry that changes before any of its accesses (%u cases)", tried);
	for (unsigned way = MAP_READ; way <= MAP_WRITE; way++) {
		*(struct xen_grant_entry *)watched = good;
		then[0] = good;
		then[1] = (struct xen_grant_entry){ 1 | 1 << 5, 2, own };
		when = again = 1;
		watch(true);
		status = use(way, &handle);
		is_u64(seen < 8 && status == XEN_GNTST_eagain, 1,
		       "%s: one that changes at each access is given up soon (%d)", way_names[way],
		       seen);
		watch(false);
	}
	memset(watched, 0, 8);
	is_u64(differences(), 0, "and nothing is left of it");
}

/* ---- bounds ---- */

static void
bounds(void)
{
	struct xen_gnttab_map_grant_ref m = { .flags = DEVICE | READ };
	struct xen_gnttab_unmap_grant_ref u = { .dev_bus_addr = (uint64_t)(first_of(3) + 2)
								<< PAGE_SHIFT };
	uint32_t first = 0, count = 0;

	*(struct xen_grant_entry *)entry(3, 0) = (struct xen_grant_entry){ 1, 2, first_of(3) + 2 };
	while (!pv_grant_map(&grants[2], &grants[3], NULL, &m))
		first = count++ ? first : m.handle;
	is_u64(count, PV_GRANT_USES, "so often an entry can be used");
	m.flags = DEVICE;
	is_u64((uint64_t)pv_grant_map(&grants[2], &grants[3], NULL, &m), 0, "... and to write");
	is_u64(entry(3, 0)->flags, 1 | XEN_GTF_reading | XEN_GTF_writing, "... which it says");
	u.handle = m.handle;
	is_u64((uint64_t)pv_grant_unmap(&grants[2], &u, NULL, 0), 0, "no more to write");
	is_u64(entry(3, 0)->flags, 1 | XEN_GTF_reading, "... which it says");
	u.handle = first;
	is_u64((uint64_t)pv_grant_unmap(&grants[2], &u, NULL, 0), 0, "unmap");
	is_u64((uint64_t)pv_grant_unmap(&grants[2], &u, NULL, 0), (uint64_t)XEN_GNTST_bad_handle,
	       "... twice");
	m.flags = DEVICE | READ;
	is_u64((uint64_t)pv_grant_map(&grants[2], &grants[3], NULL, &m), 0, "one more");
	is_u64(m.handle, first, "by the handle that was free");
	u.handle = first;
	is_u64((uint64_t)pv_grant_unmap(&grants[2], &u, NULL, 0), 0, "none more");
	m.flags = BOTH | READ;
	is_u64((uint64_t)pv_grant_map(&grants[2], &grants[3], slot(2, 0), &m),
	       (uint64_t)XEN_GNTST_general_error, "no two where one is left");
	is_u64(differences(), 0, "... and none is taken");
	is_u64(end(3), 0, "the granter ends");
	is_u64(pv_orphans, 1, "its frame stays");
	is_u64(frame[first_of(3) + 2].type == FRAME_GUEST, 1, "... and is no other's");
	is_u64(differences(), 0, "the auditors see it");
	frame[first_of(3) + 2].refs--;
	is_u64(differences(), 1, "... and if it is used once less");
	frame[first_of(3) + 2].refs++;
	is_u64(end(2), 0, "who maps it ends");
	is_u64(pv_orphans, 0, "it is free");
	is_u64(frame[first_of(3) + 2].type, FRAME_FREE, "... indeed");
	begin(2);
	begin(3);
	for (count = 0; (first = pv_handle_new(&grants[2])) != PV_NO_HANDLE && count < 99999;)
		count++;
	ok(count >= 170 * PV_FRAME_HANDLES / 4, "handles end: %u", count);
}

static void
page_ends(void)
{
	struct xen_gnttab_copy c = { .source = { .what = first_of(2) + 1, .offset = PAGE_SIZE - 8 },
				     .dest = { .what = first_of(2) + 2, .offset = PAGE_SIZE - 8 },
				     .len = 8 };

	is_u64((uint64_t)pv_grant_copy(&grants[2], &grants[2], &grants[2], &c), 0,
	       "up to the pages' ends");
	c.source.offset++;
	is_u64((uint64_t)pv_grant_copy(&grants[2], &grants[2], &grants[2], &c),
	       (uint64_t)XEN_GNTST_bad_copy_arg, "beyond the first one's");
	c.source.offset--;
	c.dest.offset++;
	is_u64((uint64_t)pv_grant_copy(&grants[2], &grants[2], &grants[2], &c),
	       (uint64_t)XEN_GNTST_bad_copy_arg, "beyond the second one's");
}

/* ---- the auditor ---- */

static void
broken(void)
{
	struct xen_gnttab_map_grant_ref m = { .flags = HOST };
	struct pv_active *a;
	struct pv_handle *h;

	end(2);
	begin(2);
	*(struct xen_grant_entry *)entry(3, 1) = (struct xen_grant_entry){ 1, 2, first_of(3) + 2 };
	m.ref = 1;
	is_u64((uint64_t)pv_grant_map(&grants[2], &grants[3], slot(2, 0), &m), 0, "one mapping");
	a = &grants[3].active[0][1];
	h = &grants[2].handle[0][m.handle];
	is_u64(differences(), 0, "all is well");
#define SEEN(what, change, back)                          \
	do {                                              \
		change;                                   \
		ok(differences() != 0, "seen: %s", what); \
		back;                                     \
	} while (0)
	SEEN("a writer too many", a->writers++, a->writers--);
	SEEN("a reader too many", a->readers++, a->readers--);
	SEEN("another user", a->user++, a->user--);
	SEEN("another frame", a->mfn++, a->mfn--);
	SEEN("a handle's other frame", h->mfn++, h->mfn--);
	SEEN("a handle's other grant", h->ref++, h->ref--);
	SEEN("a handle to read", h->flags ^= READ, h->flags ^= READ);
	SEEN("a handle that is lost", h->flags ^= HOST, h->flags ^= HOST);
	SEEN("a handle of nobody's", h->owner ^= 3, h->owner ^= 3);
	SEEN("a free handle too few", grants[2].free_handle++, grants[2].free_handle--);
	SEEN("a use too few", frame[first_of(3) + 2].type_refs--,
	     frame[first_of(3) + 2].type_refs++);
	SEEN("an orphan too many", pv_orphans++, pv_orphans--);
	is_u64(differences(), 0, "and all is well again");
}

int
main(void)
{
	if (mmap((void *)DIRECT_MAP, FRAMES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		bail_out("no memory");
	for (unsigned m = 0; m < FRAMES; m++)
		frame[m].type = FRAME_FREE;
	for (unsigned id = 1; id <= DOMS; id++) {
		tables[id].frames = 2;
		for (unsigned n = 0; n < 2; n++)
			tables[id].frame[n] = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
						   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		begin(id);
	}
	at_random();
	races();
	bounds();
	page_ends();
	broken();
	return done_testing();
}

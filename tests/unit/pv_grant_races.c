/* BUILD: solutions/6-pv/types.c vmm/pv/grant/handles.c solutions/8-grants/entry.c
 * solutions/8-grants/map.c solutions/8-grants/copy.c solutions/8-grants/ends.c trials/pv/audit.c
 * trials/grants/recount.c
 * -DDIRECT_MAP=0x200000000000ul */
/*
 * Grants, one by one: entries that change between any two accesses to them, for the page that they
 * are on is not there, and each access is a signal; then bounds, pages' ends, and what the auditor
 * sees.
 */
#include "pv_grants.h"

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
	four_domains();
	races();
	bounds();
	page_ends();
	broken();
	return done_testing();
}

/*
 * What must be refused, or do no harm: grants that are none, of what is nobody's to grant, to
 * others; addresses, handles, counts, lengths. `me` is its own number, to whom it grants most; of
 * `peer`, who serves (main.c), it uses what it may, and tries what it may not.
 */
#include <guest/pv/grants/grants.h>

#define HOLE    0xffff830000000000ul
#define REF     40u
#define HOST    XEN_GNTMAP_host_map
#define DEVICE  XEN_GNTMAP_device_map
#define READ    XEN_GNTMAP_readonly
#define EFAULT  (-14)
#define EINVAL  (-22)
#define ENOSYS  (-38)
#define ENTRIES 512u

static page_t window[4], page, other, table;
static uint16_t me, peer;
static uint32_t handle;

static int
map(uint32_t flags)
{
	return pv_map_grant(window[0], me, REF, flags, &handle);
}

static void
unmap(void)
{
	is(pv_unmap_grant(window[0], 0, handle), 0, "unmap");
	own_again(window[0]);
}

static void
set(uint16_t flags, uint16_t domid, uint64_t frame)
{
	*(volatile struct xen_grant_entry *)&pv_grants[REF] =
		(struct xen_grant_entry){ flags, domid, (uint32_t)frame };
}

/* Of pages that may be one. */
static void
put(unsigned at, uint8_t byte)
{
	*(volatile uint8_t *)&window[0][at] = byte;
}

static uint8_t
get(const uint8_t *from, unsigned at)
{
	return *(const volatile uint8_t *)&from[at];
}

static void
not_in_use(const char *what)
{
	check(!(pv_grants[REF].flags & (XEN_GTF_reading | XEN_GTF_writing)), what,
	      pv_grants[REF].flags);
}

/* Where an entry lies that maps this page, in machine memory: the builder's tables, one by one. */
static uint64_t
entry_of(const void *va)
{
	uint64_t n = ((uint64_t)va - (uint64_t)virt_base) >> 12;

	return (pv_page((void *)(pv_info->pt_base + (3 + n / ENTRIES) * PAGE)) << 12) +
	       n % ENTRIES * 8;
}

/* ---- calls, and where their requests are ---- */

static void
calls(void)
{
	static const unsigned none[] = { 3, 4, 9, 11, 12, 13, 99, 0x10005, ~0u };
	struct xen_gnttab_map_grant_ref m = { .flags = DEVICE, .ref = REF, .dom = me };
	const uint64_t wild[] = { 0, HOLE, 0x800000000000, ~0ul, ~0ul - 39 };

	for (unsigned n = 0; n < sizeof(none) / sizeof(none[0]); n++)
		is(pv_grant_op(none[n], &m, 1), ENOSYS, "no such operation");
	set(XEN_GTF_permit_access, me, pv_page(page));
	for (unsigned op = 0; op < 8; op += op == 1 ? 4 : op == 5 ? 2 : 1) {
		is(pv_grant_op(op, &m, 0), 0, "none");
		is(pv_grant_op(op, &m, 0x80000000), EINVAL, "fewer than none");
		for (unsigned n = 0; n < sizeof(wild) / sizeof(wild[0]); n++)
			is(pv_grant_op(op, (void *)wild[n], 1), EFAULT,
			   "requests that are nowhere");
	}
	memcpy(other, &m, sizeof(m));
	is(pv_map(other, pv_page(other) << 12 | PTE_P | PTE_U), 0, "read-only");
	is(pv_grant_op(XEN_GNTTABOP_map_grant_ref, other, 1), EFAULT, "a request to be read alone");
	own_again(other);
	not_in_use("... is not done");
	memcpy(window[0] + PAGE - 24, &m, sizeof(m));
	is(pv_grant_op(XEN_GNTTABOP_map_grant_ref, window[0] + PAGE - 24, 1), 0,
	   "across two pages");
	memcpy(&m, window[0] + PAGE - 24, sizeof(m));
	check(!m.status && m.dev_bus_addr == pv_page(page) << 12, "... is done", m.dev_bus_addr);
	is(pv_unmap_grant(NULL, m.dev_bus_addr, m.handle), 0, "and undone");
	not_in_use("... is undone");
}

/* ---- entries ---- */

static void
entries(void)
{
	const uint64_t not_its[] = { 0, 0x100, ~0ul, pv_info->shared_info >> 12, 1ul << 31, 0 };
	uint64_t frames[sizeof(not_its) / sizeof(not_its[0])];
	struct xen_gnttab_map_grant_ref m = { .flags = DEVICE | READ, .ref = 8, .dom = peer };
	uint32_t was;

	is(pv_grant_op(XEN_GNTTABOP_map_grant_ref, &m, 1), 0, "its peer's");
	is(m.status, 0, "its peer's");
	memcpy(frames, not_its, sizeof(frames));
	frames[5] = m.dev_bus_addr >> 12;
	for (unsigned n = 0; n < sizeof(frames) / sizeof(frames[0]); n++) {
		set(XEN_GTF_permit_access, me, frames[n]);
		is(map(HOST), XEN_GNTST_bad_page, "a frame that is not its own");
		is(map(HOST | READ), XEN_GNTST_bad_page, "... to read");
		not_in_use("... is not in use");
	}
	is(pv_unmap_grant(NULL, m.dev_bus_addr, m.handle), 0, "its peer's");
	for (unsigned flags = 0; flags < 0x400; flags++) {
		bool good = (flags & 0x103) == 1;

		set((uint16_t)flags, me, pv_page(page));
		is(map(HOST | READ), good ? 0 : XEN_GNTST_general_error, "an entry of other flags");
		if (good)
			unmap();
	}
	set(XEN_GTF_permit_access, peer, pv_page(page));
	is(map(HOST), XEN_GNTST_general_error, "what is granted to another");
	set(XEN_GTF_permit_access | XEN_GTF_readonly, me, pv_page(page));
	is(map(HOST), XEN_GNTST_general_error, "to write what may be read");
	is(map(HOST | READ), 0, "to read");
	was = handle;
	is(map(HOST), XEN_GNTST_general_error, "... and to write, then");
	handle = was;
	unmap();
	for (uint32_t n = 9; n < 32; n++)
		is(pv_map_grant(window[0], me, 1u << n, HOST, &handle), XEN_GNTST_bad_gntref,
		   "beyond the table");
	is(pv_map_grant(window[0], me, ~0u, HOST, &handle), XEN_GNTST_bad_gntref, "... far");
	is(pv_map_grant(window[0], peer, 10, HOST, &handle), XEN_GNTST_bad_page, "its page table");
	is(pv_map_grant(window[0], peer, 7, HOST, &handle), XEN_GNTST_general_error, "nothing");
	is(pv_map_grant(window[0], 0, 8, HOST, &handle), XEN_GNTST_bad_domain, "dom0's");
	is(pv_map_grant(window[0], 9, 8, HOST, &handle), XEN_GNTST_bad_domain, "nobody's");
	is(pv_map_grant(window[0], 0xffff, 8, HOST, &handle), XEN_GNTST_bad_domain, "no domain's");
	is(pv_map_grant(window[0], XEN_DOMID_SELF, REF, HOST, &handle), XEN_GNTST_bad_domain,
	   "its own, by no number");
}

/* What it says while it is in use: that changes nothing of the use. */
static void
changes(void)
{
	struct xen_gnttab_map_grant_ref m = { .flags = DEVICE, .ref = REF, .dom = me };
	uint64_t was = pv_page(page) << 12;

	set(XEN_GTF_permit_access, me, pv_page(page));
	is(map(HOST), 0, "a mapping");
	set(XEN_GTF_permit_access, me, pv_page(other));
	is(pv_grant_op(XEN_GNTTABOP_map_grant_ref, &m, 1), 0, "one more");
	check(!m.status && m.dev_bus_addr == was, "... is of the same frame", m.dev_bus_addr);
	is(pv_unmap_grant(NULL, pv_page(other) << 12, m.handle), XEN_GNTST_bad_dev_addr,
	   "another frame");
	is(pv_unmap_grant(NULL, m.dev_bus_addr, m.handle), 0, "unmap");
	set(0, peer, 0);
	put(0, 5);
	check(get(page, 0) == 5, "it is mapped still", get(page, 0));
	unmap();
	not_in_use("and is not in use");
	is(map(HOST), XEN_GNTST_general_error, "no entry");
}

/* ---- types ---- */

static void
types(void)
{
	uint64_t own = pv_page(table) << 12;

	set(XEN_GTF_permit_access, me, pv_page(table));
	memset(table, 0, PAGE);
	is(pv_map(table, own | PTE_P | PTE_U), 0, "read-only");
	is(map(DEVICE), 0, "to write, by a device");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, own >> 12), EINVAL,
	   "what can be written is no table");
	is(pv_unmap_grant(NULL, own, handle), 0, "unmap");
	is(map(HOST), 0, "to write");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, own >> 12), EINVAL, "nor this");
	unmap();
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, own >> 12), 0, "a table");
	is(map(HOST), XEN_GNTST_bad_page, "to write a table");
	is(map(DEVICE), XEN_GNTST_bad_page, "... by a device");
	is(pv_copy_grant(pv_own(page), pv_granted(me, REF, 0), 8, XEN_GNTCOPY_dest_gref),
	   XEN_GNTST_bad_page, "... by a copy");
	is(pv_copy_grant(pv_own(page), pv_own(table), 8, 0), XEN_GNTST_bad_page, "... its own");
	is(pv_copy_grant(pv_own(table), pv_own(page), 8, 0), 0, "to read one");
	is(map(HOST | READ), 0, "... by a mapping");
	is(pv_map(window[0], own | FLAT), EINVAL, "... which does not become one to write");
	unmap();
	is(pv_mmuext(XEN_MMUEXT_UNPIN_TABLE, own >> 12), 0, "no table");
	own_again(table);
}

/* ---- where it goes ---- */

static void
addresses(void)
{
	static const uint64_t wild[] = { 0, HOLE, 0xffff87fffffff000, 0x800000000000, 0x40000000 };
	const uint64_t entries_of[] = {
		pv_page(page) << 12,
		pv_page((void *)pv_info->pt_base) << 12,
		entry_of(window[0]) + 4,
		0x100000,
		~0ul - 7,
		pv_info->shared_info,
	};
	uint32_t flags = HOST | XEN_GNTMAP_contains_pte;

	set(XEN_GTF_permit_access, me, pv_page(page));
	for (unsigned n = 0; n < sizeof(wild) / sizeof(wild[0]); n++)
		is(pv_map_grant((void *)wild[n], me, REF, HOST, &handle), XEN_GNTST_bad_virt_addr,
		   "where there is no entry");
	for (unsigned n = 0; n < sizeof(entries_of) / sizeof(entries_of[0]); n++)
		is(pv_map_grant((void *)entries_of[n], me, REF, flags, &handle),
		   XEN_GNTST_bad_virt_addr, "what is no entry");
	is(map(0), XEN_GNTST_bad_gntref, "for nobody");
	not_in_use("and nothing is in use");
	is(pv_map_grant((void *)entry_of(window[0]), me, REF, flags | 7u << 16, &handle), 0,
	   "an entry, by its own address");
	put(1, 9);
	check(get(page, 1) == 9, "... leads there", get(page, 1));
	is(pv_unmap_grant(window[0], 0, handle), XEN_GNTST_bad_virt_addr, "unmap by another one");
	is(pv_unmap_grant((void *)entry_of(window[1]), 0, handle), XEN_GNTST_general_error,
	   "... which leads elsewhere");
	is(pv_unmap_grant((void *)entry_of(window[0]), 0, handle), 0, "unmap");
	own_again(window[0]);
}

/* ---- handles ---- */

static void
handles(void)
{
	struct xen_gnttab_unmap_and_replace r = { (uint64_t)window[0], (uint64_t)window[1], 0, 0 };
	uint32_t first;

	is(pv_grant_op(XEN_GNTTABOP_copy, NULL, 0), 0, "none");
	for (uint32_t n = 0; n < 33; n++)
		is(pv_unmap_grant(window[0], 0, n < 32 ? 1u << n : ~0u), XEN_GNTST_bad_handle,
		   "a handle that is none, or its peer's");
	set(XEN_GTF_permit_access, me, pv_page(page));
	is(map(HOST), 0, "one");
	first = handle;
	is(map(HOST | READ), 0, "another over it");
	is(pv_unmap_grant(window[0], 0, first), XEN_GNTST_general_error, "what is not there");
	is(pv_unmap_grant(NULL, pv_page(page) << 12, first), 0, "what it never had");
	is(pv_unmap_grant(window[1], 0, handle), XEN_GNTST_general_error, "another page");
	is(pv_unmap_grant((void *)HOLE, 0, handle), XEN_GNTST_bad_virt_addr, "no page");
	unmap();
	is(pv_map_grant(window[0], me, REF, HOST, &handle), 0, "one that may be the same again");
	is(pv_map_grant(window[1], me, REF, HOST | READ, &first), 0, "and one to read");
	is(pv_unmap_grant(window[1], 0, handle), XEN_GNTST_general_error, "by the other's handle");
	is(pv_unmap_grant(window[1], 0, first), 0, "by its own");
	own_again(window[1]);
	is(pv_map(window[0], pv_page(window[0]) << 12 | FLAT), 0, "without a word to anybody");
	is(pv_unmap_grant(window[0], 0, handle), XEN_GNTST_general_error, "what is no more");
	check(pv_grants[REF].flags & XEN_GTF_writing, "and is in use as long as it lives", 0);
	set(XEN_GTF_permit_access, me, pv_page(page));
	is(map(HOST), 0, "one more");
	r.handle = handle;
	window[1][0] = 21;
	is(pv_grant_op(XEN_GNTTABOP_unmap_and_replace, &r, 1), 0, "unmap and replace");
	is(r.status, 0, "... its status");
	check(get(window[0], 0) == 21, "what was there is here", get(window[0], 0));
	own_again(window[1]);
	own_again(window[0]);
	r.new_addr = r.host_addr;
	is(map(HOST), 0, "one more");
	r.handle = handle;
	is(pv_grant_op(XEN_GNTTABOP_unmap_and_replace, &r, 1), 0, "... by itself");
	is(r.status, XEN_GNTST_bad_virt_addr, "... is refused");
	unmap();
}

static void
counts(void)
{
	static uint32_t many[300];
	unsigned n = 0;

	pv_grant(REF + 1, me, other, false);
	while (n < 300 && !pv_map_grant(NULL, me, REF + 1, DEVICE | READ, &many[n]))
		n++;
	is(n, 255, "so often it can be used");
	is(pv_map_grant(window[0], me, REF + 1, HOST | READ, &handle), XEN_GNTST_general_error,
	   "not once more");
	is(pv_map_grant(NULL, me, REF + 1, DEVICE, &handle), 0, "but to write");
	is(pv_unmap_grant(NULL, pv_page(other) << 12, handle), 0, "unmap");
	while (n)
		is(pv_unmap_grant(NULL, pv_page(other) << 12, many[--n]), 0, "unmap");
	is(pv_grants[REF + 1].flags, XEN_GTF_permit_access, "not in use");
}

/* ---- copies ---- */

static void
copies(void)
{
	static const struct {
		uint16_t from, to, len;
		int status;
	} lengths[] = {
		{ 0, 0, 4096, 0 },
		{ 4096, 4096, 0, 0 },
		{ 4095, 0, 1, 0 },
		{ 4095, 0, 2, XEN_GNTST_bad_copy_arg },
		{ 0, 4095, 2, XEN_GNTST_bad_copy_arg },
		{ 0, 0, 4097, XEN_GNTST_bad_copy_arg },
		{ 65535, 0, 1, XEN_GNTST_bad_copy_arg },
		{ 0, 65535, 65535, XEN_GNTST_bad_copy_arg },
		{ 4097, 0, 0, XEN_GNTST_bad_copy_arg },
	};
	struct xen_gnttab_copy_ptr its = pv_own(other), far = pv_own(other);

	pv_grant(REF + 2, me, page, false);
	for (unsigned n = 0; n < sizeof(lengths) / sizeof(lengths[0]); n++) {
		its.offset = lengths[n].to;
		is(pv_copy_grant(pv_granted(me, REF + 2, lengths[n].from), its, lengths[n].len,
				 XEN_GNTCOPY_source_gref),
		   lengths[n].status, "a length");
	}
	for (unsigned n = 0; n < PAGE; n++)
		page[n] = (uint8_t)(n * 7);
	is(pv_copy_grant(pv_granted(me, REF + 2, 0), pv_granted(me, REF + 2, 100), 3000, 3), 0,
	   "over itself");
	check(page[100 + 2999] == (uint8_t)(2999 * 7), "... keeps all", page[3099]);
	far.domid = peer;
	is(pv_copy_grant(far, pv_own(page), 8, 0), XEN_GNTST_permission_denied, "a peer's frame");
	is(pv_copy_grant(pv_own(page), far, 8, 0), XEN_GNTST_permission_denied, "... to there");
	far.domid = me;
	is(pv_copy_grant(far, pv_own(page), 8, 0), 0, "its own by its number");
	far = pv_own(other);
	for (unsigned n = 0; n < 6; n++) {
		const uint64_t wild[] = { 0x100, ~0ul,     1ul << 32, pv_info->shared_info >> 12,
					  0,     1ul << 52 };

		far.what = wild[n];
		is(pv_copy_grant(far, pv_own(page), 8, 0), XEN_GNTST_bad_page,
		   "what is not its own");
		is(pv_copy_grant(pv_own(page), far, 8, 0), XEN_GNTST_bad_page, "... to there");
	}
	is(pv_copy_grant(pv_granted(9, 8, 0), pv_own(page), 8, 1), XEN_GNTST_bad_domain,
	   "nobody's");
	is(pv_copy_grant(pv_granted(peer, 9, 0), pv_granted(me, REF + 2, 0), 8, 3), 0, "both ends");
	is(pv_copy_grant(pv_granted(peer, 7, 0), pv_own(page), 8, 1), XEN_GNTST_general_error,
	   "what is not granted");
	is(pv_copy_grant(pv_own(page), pv_granted(peer, 9, 0), 8, 2), XEN_GNTST_general_error,
	   "to what may be read");
	is(pv_copy_grant(pv_granted(XEN_DOMID_SELF, REF + 2, 0), pv_own(page), 8, 1), 0, "its own");
	is(pv_grants[REF + 2].flags, XEN_GTF_permit_access, "not in use");
}

/* ---- many at once ---- */

#define MANY 1500u
static struct xen_gnttab_copy many[MANY];
static page_t over_page;

static void
batches(void)
{
	struct xen_multicall_entry calls_of[2];
	struct xen_gnttab_map_grant_ref *over = (void *)over_page;
	unsigned done = 0;

	for (unsigned n = 0; n < MANY; n++)
		many[n] = (struct xen_gnttab_copy){ .source = pv_granted(me, REF + 2, 0),
						    .dest = pv_own(other),
						    .len = PAGE,
						    .flags = XEN_GNTCOPY_source_gref,
						    .status = 1 };
	many[700].len = PAGE + 1;
	is(pv_grant_op(XEN_GNTTABOP_copy, many, MANY), 0, "more than fit into one exit");
	for (unsigned n = 0; n < MANY; n++)
		done += !many[n].status;
	is(done, MANY - 1, "... each of them");
	is(many[700].status, XEN_GNTST_bad_copy_arg, "... but one");
	for (unsigned n = 0; n < 2; n++)
		calls_of[n] = (struct xen_multicall_entry){ .op = XEN_grant_table_op,
							    .args = { XEN_GNTTABOP_copy,
								      (uint64_t)many, MANY / 4 } };
	is(pv_call(XEN_multicall, (uint64_t)calls_of, 2, 0, 0), 0, "two of many");
	check(!calls_of[0].result && !calls_of[1].result, "... their results", calls_of[1].result);
	memcpy(window[0] + PAGE - 80, many, 80);
	is(pv_map(window[1], 0), 0, "nothing behind it");
	is(pv_grant_op(XEN_GNTTABOP_copy, window[0] + PAGE - 80, 0x7fffffff), EFAULT,
	   "without end");
	own_again(window[1]);
	/* the first one maps what the second one is in; which is then what is mapped there */
	over[0] = over[1] = (struct xen_gnttab_map_grant_ref){
		.host_addr = (uint64_t)over, .flags = HOST, .ref = REF + 1, .dom = me
	};
	memset(other, 0, PAGE);
	is(pv_grant_op(XEN_GNTTABOP_map_grant_ref, over, 2), 0, "over its own requests");
	check(over[1].status == XEN_GNTST_bad_domain, "... which are others then", 0);
	is(pv_unmap_grant(over, 0, over[0].handle), 0, "unmap");
	own_again(over_page);
}

static void
sizes(void)
{
	static uint64_t frames[40];
	struct xen_gnttab_setup_table setup = { XEN_DOMID_SELF, 33, 9, (uint64_t)frames };
	struct xen_gnttab_query_size size = { .dom = XEN_DOMID_SELF };
	struct xen_gnttab_set_version version = { 2 };

	is(pv_grant_op(XEN_GNTTABOP_setup_table, &setup, 1), 0, "too long a table");
	is(setup.status, XEN_GNTST_general_error, "... is refused");
	setup.nr_frames = 32;
	is(pv_grant_op(XEN_GNTTABOP_setup_table, &setup, 1), 0, "a long table");
	is(setup.status, 0, "... is there");
	is(pv_grant_op(XEN_GNTTABOP_query_size, &size, 1), 0, "how long");
	check(!size.status && size.nr_frames == 32 && size.max_nr_frames == 32, "32",
	      size.nr_frames);
	is(pv_grant_op(XEN_GNTTABOP_set_version, &version, 1), ENOSYS, "version 2");
	is(pv_map(table, frames[31] << 12 | FLAT), 0, "its last frame");
	((volatile struct xen_grant_entry *)table)[511] =
		(struct xen_grant_entry){ 1, me, (uint32_t)pv_page(page) };
	is(pv_map_grant(window[0], me, 32 * 512 - 1, HOST, &handle), 0, "its last grant");
	unmap();
	is(pv_map_grant(window[0], me, 32 * 512, HOST, &handle), XEN_GNTST_bad_gntref, "beyond");
	own_again(table);
}

void
hostile(unsigned its_own, unsigned another)
{
	me = (uint16_t)its_own;
	peer = (uint16_t)another;
	while (pv_map_grant(window[0], peer, 8, HOST, &handle))
		pv_poll(0, pv_now() + MS);
	unmap();
	calls();
	entries();
	changes();
	types();
	addresses();
	handles();
	counts();
	copies();
	batches();
	attacks(me, peer);
	sizes();
	is(pv_map_grant(window[3], peer, 8, HOST, &handle), 0, "its peer's");
	*(volatile uint32_t *)(window[3] + 4) = 4; /* END */
	*(volatile uint32_t *)window[3] = 1;
}

/*
 * Attacks that take more than one call: an entry of a page table that leads to another domain's
 * page is copied, moved, or taken out of use with its table; a request that unmaps the page that it
 * lies in; the same handle twice in one call; Zeno's own pages as what is granted.
 */
#include <guest/pv/grants/grants.h>

#define REF    50u
#define HOST   XEN_GNTMAP_host_map
#define DEVICE XEN_GNTMAP_device_map
#define BY_PTE XEN_GNTMAP_contains_pte
#define EFAULT (-14)
#define EINVAL (-22)
#define PEERS  8u /* a page of its peer's that may be written */
#define IN_USE (XEN_GTF_reading | XEN_GTF_writing)

static page_t windows[2], page, table;
static uint16_t me, peer;

/* Of its peer's page, in machine memory. */
static uint64_t
mapped(void *va, uint32_t *handle)
{
	struct xen_gnttab_map_grant_ref m = {
		.host_addr = (uint64_t)va, .flags = HOST | DEVICE, .ref = PEERS, .dom = peer
	};

	is(pv_grant_op(XEN_GNTTABOP_map_grant_ref, &m, 1), 0, "map");
	is(m.status, 0, "its peer's page");
	*handle = m.handle;
	return m.dev_bus_addr;
}

/* What may be reached by a handle may be reached by nothing else. */
static void
other_ways(void)
{
	struct xen_gnttab_unmap_and_replace r = { 0 };
	uint32_t handle, own;
	uint64_t at = mapped(windows[0], &handle);

	is(pv_map(windows[1], at | FLAT), EINVAL, "a second entry of its own for a peer's page");
	is(pv_map(windows[1], at | PTE_P | PTE_U), EINVAL, "... to read");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, at >> 12), EINVAL, "... as a page table");
	is(pv_copy_grant((struct xen_gnttab_copy_ptr){ at >> 12, XEN_DOMID_SELF, 0 }, pv_own(page),
			 8, 0),
	   XEN_GNTST_bad_page, "... by its number");
	pv_grant(REF, me, page, false);
	is(pv_map_grant(windows[1], me, REF, HOST, &own), 0, "one of its own");
	r.host_addr = (uint64_t)windows[1];
	r.new_addr = (uint64_t)windows[0];
	r.handle = own;
	is(pv_grant_op(XEN_GNTTABOP_unmap_and_replace, &r, 1), 0, "unmap and replace");
	is(r.status, XEN_GNTST_general_error, "... by its peer's page is refused");
	is(pv_unmap_grant(windows[1], 0, own), 0, "... and both are there still: its own");
	is(pv_unmap_grant(windows[0], at, handle), 0, "... and its peer's");
	own_again(windows[0]);
	own_again(windows[1]);
}

/* In a table that is in nobody's way, by its entry's address; which then is no table any more. */
static void
table_goes(void)
{
	uint64_t own = pv_page(table) << 12;
	uint32_t handle;
	void *at = (void *)(own + 8);

	memset(table, 0, PAGE);
	is(pv_map(table, own | PTE_P | PTE_U), 0, "read-only");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, own >> 12), 0, "a table");
	is(pv_map_grant(at, peer, PEERS, HOST | BY_PTE, &handle), 0, "its peer's page in it");
	is(pv_mmuext(XEN_MMUEXT_UNPIN_TABLE, own >> 12), 0, "no table");
	is(pv_unmap_grant(at, 0, handle), XEN_GNTST_bad_virt_addr, "what is no entry any more");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, own >> 12), EINVAL,
	   "a table that leads to a peer's page");
	own_again(table);
	memset(table, 0, PAGE);
	is(pv_map(table, own | PTE_P | PTE_U), 0, "read-only");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, own >> 12), 0, "a table that leads nowhere");
	is(pv_unmap_grant(at, 0, handle), XEN_GNTST_general_error, "what is there no more");
	is(pv_mmuext(XEN_MMUEXT_UNPIN_TABLE, own >> 12), 0, "no table");
	own_again(table);
}

/* An unmap that lies in the page that it unmaps: nobody can be told of it. */
static void
under_itself(void)
{
	struct xen_gnttab_unmap_grant_ref *u = (void *)windows[0];
	uint32_t handle;

	pv_grant(REF, me, page, false);
	is(pv_map_grant(windows[0], me, REF, HOST, &handle), 0, "its own page");
	*u = (struct xen_gnttab_unmap_grant_ref){ (uint64_t)windows[0], 0, handle, 7 };
	is(pv_grant_op(XEN_GNTTABOP_unmap_grant_ref, u, 1), EFAULT,
	   "a request in the page that it unmaps");
	check(!(pv_grants[REF].flags & IN_USE), "... is done", pv_grants[REF].flags);
	check(((const int16_t *)page)[10] == 7, "... and answered nowhere", page[20]);
	own_again(windows[0]);
}

static void
twice(void)
{
	static struct xen_gnttab_unmap_grant_ref u[3];
	uint32_t handle;

	pv_grant(REF, me, page, false);
	is(pv_map_grant(windows[0], me, REF, HOST, &handle), 0, "its own page");
	for (unsigned n = 0; n < 3; n++)
		u[n] = (struct xen_gnttab_unmap_grant_ref){ (uint64_t)windows[0], 0, handle, 7 };
	is(pv_grant_op(XEN_GNTTABOP_unmap_grant_ref, u, 3), 0, "the same one three times");
	is(u[0].status, 0, "... is over");
	is(u[1].status, XEN_GNTST_bad_handle, "... and is none then");
	is(u[2].status, XEN_GNTST_bad_handle, "... nor later");
	check(!(pv_grants[REF].flags & IN_USE), "... and given back once", pv_grants[REF].flags);
	own_again(windows[0]);
}

/* Zeno's own, which it lets the guest map: the table of grants itself, and the shared page. */
static void
zenos(void)
{
	uint64_t frame = 0;
	struct xen_gnttab_setup_table setup = { XEN_DOMID_SELF, 1, 0, (uint64_t)&frame };
	static const uint32_t flags[] = { HOST, HOST | XEN_GNTMAP_readonly, DEVICE };
	uint32_t handle;

	is(pv_grant_op(XEN_GNTTABOP_setup_table, &setup, 1), 0, "where its table is");
	for (unsigned n = 0; n < 3; n++) {
		*(volatile struct xen_grant_entry *)&pv_grants[REF] =
			(struct xen_grant_entry){ XEN_GTF_permit_access, me, (uint32_t)frame };
		is(pv_map_grant(windows[0], me, REF, flags[n], &handle), XEN_GNTST_bad_page,
		   "the table itself, granted");
	}
	is(pv_copy_grant(pv_own(page), (struct xen_gnttab_copy_ptr){ frame, XEN_DOMID_SELF, 0 }, 8,
			 0),
	   XEN_GNTST_bad_page, "a copy into the table");
}

void
attacks(unsigned its_own, unsigned another)
{
	me = (uint16_t)its_own;
	peer = (uint16_t)another;
	other_ways();
	table_goes();
	under_itself();
	twice();
	zenos();
}

/*
 * Domains that come and go with grants mapped either way: dom0 makes one after the other, uses what
 * it grants, grants to it, ends it at some moment, and gives back before that, or behind it, or
 * only when the next one has its memory. What a page said it says as long as it is mapped.
 */
#include <guest/pv/grants/grants.h>
#include <guest/pv/lib/memory.h>
#include <inc/control.h>
#include <inc/errno.h>

#define FIRST  8u /* the numbers of grants, on both sides */
#define PAGES  6u
#define TABLES 3u  /* of a child's page tables, to read: its root, of level 1, and a loose one */
#define END    77u /* as the first byte of the first of them */
#define KEPT   24u /* mappings that dom0 has at a time, at most */

static page_t windows[KEPT], given[PAGES], pages[PAGES];
static struct {
	bool used, looked_at;
	uint32_t handle;
	uint64_t bus;
	uint8_t says;
} kept[KEPT];
static unsigned early;

static int64_t
control(unsigned op, uint64_t a, uint64_t b)
{
	return pv_call(ZENO_CONTROL, op, a, b, 0);
}

/* ---- what dom0 makes ---- */

/* A page table that is pinned, in a frame that has no place among its memory; its number. */
static uint32_t
loose_table(void)
{
	uint64_t m = pv_page(given[0]);

	is(pv_map(given[0], 0), 0, "one page less");
	is(pv_reserve(XEN_XENMEM_decrease_reservation, &m, 1, 0), 1, "... its frame");
	is(pv_reserve(XEN_XENMEM_increase_reservation, &m, 1, 0), 1, "a frame that is loose");
	is(pv_map(given[0], m << 12 | FLAT), 0, "... mapped");
	memset(given[0], 0, PAGE);
	is(pv_map(given[0], m << 12 | PTE_P | PTE_U), 0, "... to read");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, m), 0, "... a page table");
	return (uint32_t)m;
}

/* It keeps all that it can have of dom0's, and waits for its end, or for a word in what it has. */
void
child(void)
{
	uint32_t handle;
	uint64_t says = number_behind(pv_info->cmd_line, "child=");

	for (unsigned n = 0; n < PAGES; n++) {
		memset(pages[n], (int)(says + n), PAGE);
		pv_map_grant(windows[n], 0, FIRST + n,
			     n % 2 ? XEN_GNTMAP_host_map | XEN_GNTMAP_readonly
				   : XEN_GNTMAP_host_map | XEN_GNTMAP_device_map,
			     &handle);
	}
	for (unsigned n = 0; n < PAGES; n++)
		pv_grant(FIRST + n, 0, pages[n], n % 3 == 2);
	pv_grant(FIRST + PAGES + 1, 0, (void *)(pv_info->pt_base + 3 * PAGE), false);
	pv_grant(FIRST + PAGES + 2, 0, (void *)pv_info->pt_base, false);
	pv_grants[FIRST + PAGES + 2].frame = loose_table();
	pv_grant(FIRST + PAGES, 0, (void *)pv_info->pt_base, false);
	while (*(volatile uint8_t *)windows[0] != END)
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
	pv_exit(0);
}

/* ---- dom0 ---- */

static void
look_at(unsigned n)
{
	for (unsigned i = 0; kept[n].looked_at && i < PAGE; i += 511)
		if (windows[n][i] != kept[n].says && !early++)
			pv_printf("window %u says %x, not %x\n", n, windows[n][i], kept[n].says);
}

static void
let_go(unsigned n)
{
	look_at(n);
	is(pv_unmap_grant(windows[n], kept[n].bus, kept[n].handle), 0, "unmap");
	kept[n].used = false;
}

static int
keep(unsigned n, uint64_t domid, uint32_t page, uint8_t says)
{
	struct xen_gnttab_map_grant_ref m = { .host_addr = (uint64_t)windows[n],
					      .flags = (uint32_t)(1 + draw(3)),
					      .ref = FIRST + page,
					      .dom = (uint16_t)domid };

	if (page >= PAGES) {
		is(pv_grant_op(XEN_GNTTABOP_map_grant_ref, &m, 1), 0, "map");
		is(m.status, XEN_GNTST_bad_page, "a page table of its, to write");
	}
	m.flags |= page % 3 == 2 || page >= PAGES || draw(2) ? XEN_GNTMAP_readonly : 0;
	is(pv_grant_op(XEN_GNTTABOP_map_grant_ref, &m, 1), 0, "map");
	if (m.status)
		return m.status;
	kept[n].used = true;
	kept[n].looked_at = m.flags & XEN_GNTMAP_host_map && page < PAGES;
	kept[n].handle = m.handle;
	kept[n].bus = m.dev_bus_addr;
	kept[n].says = says;
	look_at(n);
	return 0;
}

static void
use(uint64_t domid, uint8_t says)
{
	for (unsigned tries = (unsigned)draw(8); tries; tries--) {
		unsigned n = (unsigned)draw(KEPT), page = (unsigned)draw(PAGES + TABLES);

		if (kept[n].used)
			let_go(n);
		is(keep(n, domid, page, (uint8_t)(says + page)), 0, "map");
	}
	for (unsigned n = 0; n < PAGES; n++) {
		is(pv_copy_grant(pv_granted((uint16_t)domid, FIRST + n, 0), pv_own(pages[0]), PAGE,
				 XEN_GNTCOPY_source_gref),
		   0, "copy");
		early += pages[0][4000] != (uint8_t)(says + n);
		check(pv_grants[FIRST + n].flags & XEN_GTF_reading, "it has mapped it", n);
	}
}

static void
release(uint64_t domid)
{
	struct zeno_look l;

	if (draw(8))
		given[0][0] = END;
	else
		is(control(ZENO_DESTROY, domid, 0), 0, "destroy");
	while (control(ZENO_LOOK, domid, (uint64_t)&l) == (int64_t)domid && l.state != ZENO_ENDED)
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
	is(control(ZENO_RELEASE, domid, 0), 0, "release, with pages mapped");
}

static void
one_round(uint64_t round)
{
	struct zeno_create c = { .name = "child",
				 .vcpus = 1,
				 .kernel = pv_info->mod_start,
				 .kernel_size = pv_info->mod_len,
				 .mib = 2 };
	uint8_t says = (uint8_t)(100 + round % 100);
	int64_t id;

	say(c.words, "child=100");
	c.words[7] += says / 10 % 10;
	c.words[8] += says % 10;
	id = control(ZENO_CREATE, (uint64_t)&c, 0);
	check(id > 0, "create", (uint64_t)id);
	given[0][0] = 0;
	for (unsigned n = 0; n < PAGES; n++)
		pv_grant(FIRST + n, (uint16_t)id, given[n], n % 2);
	for (unsigned n = 0; n < KEPT; n++)
		if (kept[n].used) {
			look_at(n);
			if (!draw(3))
				let_go(n);
		}
	is(control(ZENO_UNPAUSE, (uint64_t)id, 0), 0, "unpause");
	if (draw(8)) { /* or it ends wherever it is */
		while (pv_copy_grant(pv_granted((uint16_t)id, FIRST + PAGES, 0), pv_own(pages[0]),
				     1, XEN_GNTCOPY_source_gref))
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
		use((uint64_t)id, says);
	} else
		for (uint64_t n = draw(4); n; n--)
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
	release((uint64_t)id);
	for (unsigned n = 0; n < PAGES; n++)
		check(pv_revoke(FIRST + n), "nobody uses it any more", pv_grants[FIRST + n].flags);
}

int
rounds(uint64_t count)
{
	for (uint64_t n = 0; n < count; n++)
		one_round(n);
	for (unsigned n = 0; n < KEPT / 2; n++) /* the rest is mapped when dom0 ends */
		if (kept[n].used)
			let_go(n);
	pv_printf("%lu rounds: %u early, %u wrong\n", count, early, wrong);
	return (int)(early + wrong);
}

/*
 * Domains that come and go while they change what they have: dom0 makes one after the other, maps a
 * page that it grants, and ends it at any moment, in the middle of a call among them.
 */
#include <guest/pv/memory/memory.h>
#include <inc/control.h>

#define PAGES 160u
#define SAYS  0x5a
#define REF   8u

#define TABLE 9u /* another grant: of a page table, to be read */

static page_t pages[PAGES], window, other, granted, table;
static uint64_t list[PAGES], out[PAGES];

static int64_t
control(unsigned op, uint64_t a, uint64_t b)
{
	return pv_call(ZENO_CONTROL, op, a, b, 0);
}

static void
yield(void)
{
	pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
}

/* ---- what dom0 makes ---- */

static void
one_change(void)
{
	unsigned n = 1 + (unsigned)draw(PAGES - 1);
	struct xen_memory_exchange x = change_for(list, 0, out, 0, n);

	for (unsigned i = 0; i < n; i++) {
		list[i] = take_out(pages[i]);
		out[i] = pv_pfn(pages[i]);
	}
	if (draw(2)) {
		is(pv_reserve(LESS, list, n, 0), n, "back");
		is(pv_reserve(draw(2) ? FILL : MORE, out, n, 0), n, "and new");
	} else
		is(exchange(&x), 0, "others");
	for (unsigned i = 0; i < n; i++) {
		put_in(pages[i], out[i]);
		check(is_zero(pages[i]), "of zeros", out[i]);
		memset(pages[i], SAYS, 8);
	}
}

void
child(uint64_t seed)
{
	uint64_t mfn = pv_page(granted);

	while (seed--)
		draw(2);
	memset(granted, SAYS, PAGE);
	take_out(granted);
	take_out(table);
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, pv_page(table)), 0, "a table");
	pv_grant(TABLE, 0, table, true);
	pv_grant(REF, 0, granted, false);
	for (;;) {
		one_change();
		if (pv_grants[REF].flags & XEN_GTF_reading)
			is(pv_reserve(LESS, &mfn, 1, 0), 0, "what dom0 has mapped");
	}
}

/* ---- dom0 ---- */

static unsigned early;

static void
look(void)
{
	for (unsigned i = 0; i < PAGE; i += 511)
		early += window[i] != SAYS;
}

static uint32_t
keep(void *at, uint16_t id, uint32_t ref, uint32_t flags)
{
	uint32_t handle = 0;
	int status;

	while ((status = pv_map_grant(at, id, ref, XEN_GNTMAP_host_map | flags, &handle)) &&
	       status != XEN_GNTST_bad_domain)
		yield();
	is(status, 0, "map");
	return handle;
}

static void
end(uint64_t id)
{
	struct zeno_look l;

	is(control(ZENO_DESTROY, id, 0), 0, "destroy");
	while (control(ZENO_LOOK, id, (uint64_t)&l) == (int64_t)id && l.state != ZENO_ENDED)
		yield();
	check(l.why == ZENO_KILLED, "it has not ended by itself", l.why);
	is(control(ZENO_RELEASE, id, 0), 0, "release");
}

static void
one_round(uint64_t round)
{
	struct zeno_create c = { .name = "child",
				 .vcpus = 1,
				 .kernel = pv_info->mod_start,
				 .kernel_size = pv_info->mod_len,
				 .mib = 6,
				 .words = "child=000" };
	uint32_t handle, of_table;
	int64_t id;

	for (unsigned n = 9, rest = 1 + (unsigned)round % 999; n-- > 6; rest /= 10)
		c.words[n] = (char)('0' + rest % 10);
	id = control(ZENO_CREATE, (uint64_t)&c, 0);
	check(id > 0, "create", (uint64_t)id);
	is(control(ZENO_UNPAUSE, (uint64_t)id, 0), 0, "unpause");
	handle = keep(window, (uint16_t)id, REF, 0);
	of_table = keep(other, (uint16_t)id, TABLE, XEN_GNTMAP_readonly);
	for (uint64_t n = draw(6); n; n--)
		yield();
	look();
	end((uint64_t)id);
	look();
	is(pv_unmap_grant(window, 0, handle), 0, "unmap");
	put_in(window, pv_page(window));
	is(pv_unmap_grant(other, 0, of_table), 0, "unmap what was a table");
	put_in(other, pv_page(other));
}

int
rounds(uint64_t count)
{
	for (uint64_t n = 0; n < count; n++)
		one_round(n);
	pv_printf("%lu rounds: %u early, %u wrong\n", count, early, wrong);
	return (int)(early + wrong);
}

/*
 * Many at once: more than fit into one exit, by one call and by a multicall; rows of all sizes; and
 * an end with frames that have no number, one of them a table.
 */
#include <guest/pv/memory/memory.h>

#define MANY 600u
#define MOST 3000u /* what no table of its maps: it is behind all that the builder has made */

static page_t pages[MANY], window;
static uint64_t list[MANY], out[MANY], unmapped[MOST];

static void
by_one_call(void)
{
	struct xen_memory_exchange x = change_for(list, 0, out, 0, MANY);
	int64_t all = has();

	for (unsigned n = 0; n < MANY; n++) {
		list[n] = take_out(pages[n]);
		out[n] = pv_pfn(pages[n]);
	}
	is(exchange(&x), 0, "many for others");
	is((int64_t)x.nr_exchanged, MANY, "... all of them");
	is(pv_reserve(LESS, out, MANY, 0), MANY, "many back");
	is(has(), all - MANY, "it has fewer");
	for (unsigned n = 0; n < MANY; n++)
		list[n] = pv_pfn(pages[n]);
	is(pv_reserve(FILL, list, MANY, 0), MANY, "many again");
	is(has(), all, "it has all");
	for (unsigned n = 0; n < MANY; n++) {
		is((int64_t)pv_guest_frame(list[n]), (int64_t)pv_pfn(pages[n]), "each its number");
		put_in(pages[n], list[n]);
	}
}

static void
by_many_calls(void)
{
	const struct xen_memory_reservation r[2] = {
		{ (uint64_t)list, MANY, 0, 0, XEN_DOMID_SELF },
		{ (uint64_t)out, MANY, 0, 0, XEN_DOMID_SELF },
	};
	struct xen_multicall_entry calls[2] = {
		{ .op = XEN_memory_op, .args = { LESS, (uint64_t)&r[0] } },
		{ .op = XEN_memory_op, .args = { FILL, (uint64_t)&r[1] } },
	};

	for (unsigned n = 0; n < MANY; n++) {
		list[n] = take_out(pages[n]);
		out[n] = pv_pfn(pages[n]);
	}
	is(pv_call(XEN_multicall, (uint64_t)calls, 2, 0, 0), 0, "two of many");
	is((int64_t)calls[0].result, MANY, "... the first's");
	is((int64_t)calls[1].result, MANY, "... the second's");
	for (unsigned n = 0; n < MANY; n++)
		put_in(pages[n], out[n]);
}

/*
 * Of pages that no other part uses: seven whose frames are in a row, up or down. Which are depends
 * on what the host has had in its memory before. Given back, they are a row of four for whoever
 * asks next, wherever they begin.
 */
static unsigned
in_a_row(void)
{
	unsigned first = 522, n = first + 1;
	uint64_t step = 0;

	for (; n < 599 && n - first < 7; n++) {
		uint64_t was = step;

		step = pv_page(pages[n]) - pv_page(pages[n - 1]);
		if (step != 1 && step != ~0ul)
			first = n;
		else if (step != was)
			first = n - 1;
	}
	check(n - first == 7, "seven in a row", first);
	return first;
}

/* More than it may have are not done, nor is a row of which a part would be too many. */
static void
quota(void)
{
	unsigned first = in_a_row();

	for (unsigned n = 0; n < 7; n++)
		list[n] = take_out(pages[first + n]);
	is(pv_reserve(LESS, list, 7, 0), 7, "seven");
	is(pv_reserve(MORE, list, 1, 3), 0, "a row of eight");
	is(pv_reserve(MORE, list, 1, 2), 1, "a row of four");
	check(list[0] % 4 == 0, "... whose number is a multiple", list[0]);
	is(pv_reserve(MORE, list + 1, 1, 2), 0, "another one");
	is(pv_reserve(MORE, NULL, 9, 0), 3, "so many as are left");
	is(pv_reserve(MORE, NULL, 1, 0), 0, "not one more");
	is(pv_reserve(LESS, list, 1, 2), 1, "the row");
}

/* Rows of any size, as long as the machine has some: long ones it may not have. */
static void
sizes(void)
{
	for (unsigned n = 10; n < 10 + 512; n++)
		list[n] = take_out(pages[n]);
	is(pv_reserve(LESS, list + 10, 512, 0), 512, "many");
	for (unsigned order = 9; order; order--) {
		if (pv_reserve(MORE, list, 1, order) != 1) {
			check(order > 7, "a row", order);
			continue;
		}
		check(list[0] % (1u << order) == 0, "... whose number is a multiple", list[0]);
		is(pv_reserve(LESS, list, 1, order), 1, "... back");
	}
}

/* More than a turn may take; and then there is room for a row that would be too long. */
static void
longest(void)
{
	uint64_t first = pv_info->nr_pages - MOST;

	for (unsigned n = 0; n < MOST; n++)
		unmapped[n] = ((const uint64_t *)pv_info->mfn_list)[first + n];
	is(pv_reserve(LESS, unmapped, MOST, 0), MOST, "thousands");
	for (unsigned order = 10; order < 12; order++)
		is(pv_reserve(MORE, NULL, 1, order), 0, "a row that is too long");
	for (unsigned n = 0; n < MOST; n++)
		unmapped[n] = first + n;
	is(pv_reserve(FILL, unmapped, MOST, 0), MOST, "thousands again");
	is(pv_reserve(LESS, unmapped, MOST, 0), MOST, "... and back");
	is(pv_reserve(MORE, NULL, 4, 9) < 0, 0, "rows");
	is(pv_reserve(MORE, unmapped, MOST, 0) < 0, 0, "what is left");
	is(pv_reserve(MORE, NULL, 1, 0), 0, "it has all");
}

void
many(void)
{
	longest();
	by_one_call();
	by_many_calls();
	quota();
	sizes();
	/* what has no number, and is a table, or mapped, when it ends */
	is(pv_reserve(MORE, list, 2, 0), 2, "two");
	is(pv_map(window, list[0] << 12 | FLAT), 0, "mapped");
	memset(window, 0, PAGE);
	is(pv_map(window, list[1] << 12 | FLAT), 0, "the other one");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, list[0]), 0, "a table");
	is(pv_update(list[0] << 12, pv_page(pages[599]) << 12 | PTE_P | PTE_U), 0, "... in use");
}

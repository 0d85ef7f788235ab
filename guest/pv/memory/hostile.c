/*
 * What must be refused, or do no harm: frames in use, or that are not its own, lists that are
 * nowhere, counts and orders that are none. `me`: its own number, by which it grants to itself.
 */
#include <guest/pv/memory/memory.h>

#define HOLE     0xffff830000000000ul
#define HOLE_END 0xffff880000000000ul
#define SELF     XEN_DOMID_SELF

static page_t window, page, other, table, spread[2];

static int64_t
less(uint64_t mfn)
{
	return pv_reserve(LESS, &mfn, 1, 0);
}

static int64_t
ask(enum xen_memory_op op, uint64_t list, uint64_t count, unsigned order, unsigned flags,
    uint16_t domid)
{
	const struct xen_memory_reservation r = { list, count, order, flags, domid };

	return pv_memory_op(op, &r);
}

/* ---- in use ---- */

static void
mapped(void)
{
	uint64_t mfn = pv_page(page);

	is(less(mfn), 0, "mapped to be written");
	is(pv_map(page, mfn << 12 | PTE_P | PTE_U), 0, "read-only");
	is(less(mfn), 0, "mapped to be read");
	is(pv_map(window, mfn << 12 | FLAT), 0, "mapped elsewhere");
	take_out(page);
	is(less(mfn), 0, "... alone");
	is(pv_map(window, 0), 0, "nowhere");
	put_in(page, mfn);
	put_in(window, pv_page(window));
}

static void
tables(void)
{
	uint64_t mfn = pv_page(table), own = pv_page((void *)pv_info->pt_base);

	is(less(own), 0, "its root");
	is(less(pv_page((void *)(pv_info->pt_base + PAGE))), 0, "a table below it");
	memset(table, 0, PAGE);
	is(pv_map(table, 0), 0, "a page that is nowhere");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, mfn), 0, "... a table");
	is(less(mfn), 0, "a table that is pinned");
	is(pv_mmuext(XEN_MMUEXT_UNPIN_TABLE, mfn), 0, "no table");
	is(less(mfn), 1, "is memory");
	is(pv_mmuext(XEN_MMUEXT_PIN_L1_TABLE, mfn), -22, "is no table of its");
	is(pv_map(window, mfn << 12 | FLAT), -22, "nor to be mapped");
	is(pv_map(window, mfn << 12 | PTE_P | PTE_U), -22, "... to be read");
	is(pv_update(mfn << 12, 0), -22, "... or written");
	is(pv_update(mfn << 12 | XEN_MMU_MACHPHYS_UPDATE, 5), -22, "... or named");
	check(pv_get_page(table), "another one", 0);
}

static void
granted(uint16_t me)
{
	uint64_t mfn = pv_page(page), number = pv_pfn(page), out = number;
	struct xen_memory_exchange x = change_for(&mfn, 0, &out, 0, 1);
	uint32_t handle;

	for (uint32_t flags = XEN_GNTMAP_device_map; flags;
	     flags = flags & XEN_GNTMAP_readonly ? 0 : flags | XEN_GNTMAP_readonly) {
		pv_grant(40, me, page, false);
		take_out(page);
		is(pv_map_grant(NULL, me, 40, flags, &handle), 0, "a device has it");
		is(less(mfn), 0, "what a device has");
		is(exchange(&x), -22, "... nor for another one");
		is(pv_unmap_grant(NULL, mfn << 12, handle), 0, "it has not");
		put_in(page, mfn);
	}
	take_out(page);
	is(less(mfn), 1, "what is granted, and nobody uses");
	is(pv_map_grant(window, me, 40, XEN_GNTMAP_host_map, &handle), XEN_GNTST_bad_page,
	   "is not its to grant");
	is(pv_copy_grant(pv_granted(me, 40, 0), pv_own(other), 8, XEN_GNTCOPY_source_gref),
	   XEN_GNTST_bad_page, "... to be copied");
	check(pv_get_page(page) && pv_revoke(40), "another one", 0);
}

/* ---- not its own ---- */

static void
others(void)
{
	const uint64_t wild[] = { 0,
				  1,
				  0x100,
				  1ul << 31,
				  1ul << 32,
				  1ul << 52,
				  ~0ul,
				  ~0ul - 1,
				  pv_info->shared_info >> 12,
				  (uint64_t)pv_memory_op(XEN_XENMEM_maximum_ram_page, NULL),
				  (uint64_t)pv_memory_op(XEN_XENMEM_maximum_ram_page, NULL) + 1 };
	uint64_t frame = 0;
	struct xen_gnttab_setup_table setup = { SELF, 1, 0, (uint64_t)&frame };

	for (unsigned n = 0; n < sizeof(wild) / sizeof(wild[0]); n++) {
		is(less(wild[n]), 0, "what is not its own");
		for (unsigned order = 1; order < 10; order += 4)
			is(pv_reserve(LESS, &wild[n], 1, order), 0, "... in a row");
	}
	is(pv_grant_op(XEN_GNTTABOP_setup_table, &setup, 1), 0, "its table of grants");
	is(less(frame), 0, "... is the monitor's");
}

/* What the CPU remembers of a frame is forgotten, whether its guest has said so or not. */
static void
read_it(uint64_t at)
{
	*(volatile uint8_t *)at;
}

static void
remembered(void)
{
	uint64_t mfn = pv_page(page);

	read_it((uint64_t)page);
	is(pv_call(XEN_update_va_mapping, (uint64_t)page, 0, 0, 0), 0, "without a flush");
	is(less(mfn), 1, "it is gone");
	raises("and so is what the CPU knows", read_it, (uint64_t)page, 14, 0);
	check(pv_get_page(page), "another one", 0);
}

/* ---- lists ---- */

static void
lists(void)
{
	const uint64_t nowhere[] = {
		8, HOLE, 0x800000000000, 0x7ffffffffffc, HOLE_END - 4, ~0ul, ~0ul - 7, 0x40000000, 1
	};
	uint64_t mfn = take_out(page), twice[3] = { mfn, mfn, mfn };
	uint64_t *across = (uint64_t *)(spread[0] + PAGE - 4);

	for (unsigned n = 0; n < sizeof(nowhere) / sizeof(nowhere[0]); n++) {
		is(ask(LESS, nowhere[n], 1, 0, 0, SELF), 0, "a list that is nowhere");
		is(ask(FILL, nowhere[n], 1, 0, 0, SELF), 0, "... to fill");
		is(pv_memory_op(LESS, (void *)nowhere[n]), 0, "a request that is nowhere");
		is(pv_memory_op(XEN_XENMEM_exchange, (void *)nowhere[n]), -14,
		   "... of another kind");
		is(pv_memory_op(XEN_XENMEM_current_reservation, (void *)nowhere[n]), -14,
		   "a question that is nowhere");
	}
	is(ask(FILL, 0, 1, 0, 0, SELF), 0, "no list");
	is(pv_reserve(LESS, twice, 3, 0), 1, "the same three times");
	for (unsigned n = 0; n < sizeof(nowhere) / sizeof(nowhere[0]); n++)
		is(ask(MORE, nowhere[n], 1, 0, 0, SELF), 0, "to be told nowhere");
	twice[0] = pv_page(other);
	is(pv_map(other, pv_page(other) << 12 | PTE_P | PTE_U), 0, "a list to be read alone");
	is(ask(MORE, (uint64_t)other, 1, 0, 0, SELF), 0, "... is not written");
	put_in(other, pv_page(other));
	is(pv_reserved(XEN_XENMEM_maximum_reservation) - has(), 1, "and it has nothing of that");
	memcpy(across, &(uint64_t){ pv_pfn(page) }, sizeof(*across));
	is(pv_reserve(FILL, across, 1, 0), 1, "across two pages");
	memcpy(&mfn, across, sizeof(mfn));
	put_in(page, mfn);
	/* the last one that can be read, and one behind it */
	across = (uint64_t *)(spread[0] + PAGE - 8);
	*across = take_out(page);
	is(pv_map(spread[1], 0), 0, "nothing behind it");
	is(pv_reserve(LESS, across, 2, 0), 1, "so far as there is a list");
	put_in(spread[1], pv_page(spread[1]));
	check(pv_get_page(page), "another one", 0);
	/* a list in the very page that it names, which is mapped for that */
	*(uint64_t *)page = pv_page(page);
	is(pv_reserve(LESS, (uint64_t *)page, 1, 0), 0, "the list's own page");
}

/* ---- numbers ---- */

static void
numbers(uint16_t me)
{
	const unsigned orders[] = { 10, 31, 32, 63, 64, ~0u };
	uint64_t mfn = take_out(page), list = (uint64_t)&mfn;

	for (unsigned n = 0; n < sizeof(orders) / sizeof(orders[0]); n++) {
		is(ask(LESS, list, 1, orders[n], 0, SELF), 0, "an order that is none");
		is(ask(MORE, list, 1, orders[n], 0, SELF), 0, "... for more");
		is(ask(FILL, list, 1, orders[n], 0, SELF), 0, "... to fill");
	}
	is(ask(LESS, list, 0, 0, 0, SELF), 0, "none");
	is(ask(LESS, list, 1ul << 26, 0, 0, SELF), 0, "more than can be counted");
	is(ask(LESS, list, ~0ul, 0, 0, SELF), 0, "... by far");
	is(pv_memory_op(LESS | 5ul << 6, &(struct xen_memory_reservation){ list, 3, 0, 0, SELF }),
	   5, "more done than there are");
	is(pv_memory_op(LESS | 1ul << 63, &(struct xen_memory_reservation){ list, 3, 0, 0, SELF }),
	   1l << 57, "... by far");
	is(ask(LESS, list, 1, 0, 0, 9), 0, "nobody's");
	is(ask(LESS, list, 1, 0, 0, 0), 0, "dom0's");
	is(pv_memory_op(XEN_XENMEM_current_reservation, &(uint16_t){ 9 }), -3,
	   "how much is nobody's");
	is(pv_memory_op(XEN_XENMEM_current_reservation, &(uint16_t){ me }), has(),
	   "its own, by number");
	is(pv_memory_op(XEN_XENMEM_current_reservation | 64, &(uint16_t){ me }), -22,
	   "a question that goes on");
	is(ask(LESS, list, 1, 0, 0, me), 1, "its own, by number");
	mfn = pv_pfn(page);
	is(ask(FILL, list, 1, 0, XEN_MEMF_populate_on_demand, SELF), 0, "on demand");
	for (unsigned bits = 1; bits < 14; bits++)
		is(ask(FILL, list, 1, 0, bits, SELF), 0, "below all memory");
	is(ask(FILL, list, 1, 0, 32, SELF), 1, "below 4 GiB");
	put_in(page, mfn);
}

/* ---- guest frames ---- */

static void
populate(uint64_t as, const char *what)
{
	uint64_t mfn = as;

	is(pv_reserve(FILL, &mfn, 1, 0), 1, what);
	is((int64_t)pv_guest_frame(mfn), (int64_t)as, "... by that number");
	put_in(window, mfn);
	check(is_zero(window), "of zeros", mfn);
	memset(window, 0x55, PAGE);
	is(less(take_out(window)), 1, "and given back");
}

/* A guest says what it likes of its frames: whose numbers they are is its own affair. */
static void
named(void)
{
	uint64_t was = take_out(window), one, two;
	const uint64_t as[] = {
		pv_pfn(page), 0, 1ul << 40, ~0ul, ~0ul - 1, pv_info->nr_pages, pv_info->nr_pages - 1
	};

	is(less(was), 1, "one");
	for (unsigned n = 0; n < sizeof(as) / sizeof(as[0]); n++)
		populate(as[n], "a number that has one, or is none");
	one = two = pv_pfn(window);
	is(pv_reserve(FILL, &one, 1, 0), 1, "a guest frame");
	was = take_out(page);
	is(less(was), 1, "room for one more");
	is(pv_reserve(FILL, &two, 1, 0), 1, "... of the same number");
	check(one != two && pv_guest_frame(one) == pv_guest_frame(two), "two of them", two);
	is(pv_update(one << 12 | XEN_MMU_MACHPHYS_UPDATE, pv_pfn(other)), 0, "a third one's name");
	is(less(one), 1, "the first");
	put_in(window, two);
	check(pv_get_page(page), "another one", 0);
	other[9] = 9;
	is(other[9], 9, "the third is untouched");
}

void
hostile(uint16_t me)
{
	int64_t all = has();

	mapped();
	tables();
	granted(me);
	others();
	remembered();
	lists();
	numbers(me);
	named();
	is(has(), all, "it has as many as before");
	is(pv_reserve(MORE, NULL, 1, 0), 0, "and gets no more");
}

/*
 * Exchanges: what is refused, what is done in part, and rows of frames for single ones.
 */
#include <guest/pv/memory/memory.h>

#define ROW 8u

static page_t pages[ROW], window, lists;
static uint64_t in[ROW], out[ROW];

static void
refused(void)
{
	struct xen_memory_exchange good, x;

	in[0] = take_out(pages[0]);
	out[0] = pv_pfn(pages[0]);
	good = change_for(in, 0, out, 0, 1);
#define TRY(field, value, wanted, what) \
	(x = good, x.field = (value), is(exchange(&x), wanted, what))
	TRY(in.extent_order, 10, -1, "an order that is none");
	TRY(out.extent_order, 64, -1, "... to get");
	TRY(nr_exchanged, 2, -22, "more done than there are");
	TRY(in.domid, 9, -22, "of two domains");
	TRY(in.nr_extents, 2, -22, "two for one");
	TRY(out.extent_order, 1, -22, "one for two");
	TRY(in.extent_start, 0xffff830000000000ul, -14, "a list that is nowhere");
	TRY(out.extent_start, 8, -14, "... of what it gets");
	TRY(nr_exchanged, 1, 0, "all has been done");
	TRY(out.mem_flags, 12, -12, "below all memory");
	x = good;
	x.in.domid = x.out.domid = 9;
	is(exchange(&x), -3, "nobody's");
	x = good;
	x.in.nr_extents = x.out.nr_extents = 1ul << 63;
	x.in.extent_order = x.out.extent_order = 1;
	is(exchange(&x), -22, "more than there are numbers");
	memcpy(lists, out, sizeof(out));
	is(pv_map(lists, pv_page(lists) << 12 | PTE_P | PTE_U), 0, "read-only");
	TRY(out.extent_start, (uint64_t)lists, -14, "a list that can't be told");
	put_in(lists, pv_page(lists));
	x = good;
	memcpy(lists, &x, sizeof(x));
	is(pv_map(lists, pv_page(lists) << 12 | PTE_P | PTE_U), 0, "read-only");
	is(exchange((void *)lists), -14, "a request that can't be told how far it is");
	put_in(lists, pv_page(lists));
	put_in(pages[0], out[0]); /* which is done all the same */
	check(out[0] != in[0] && is_zero(pages[0]), "another one", out[0]);
}

/* A part of it is done, and it says so. */
static void
in_part(void)
{
	struct xen_memory_exchange x = change_for(in, 0, out, 0, 3);
	uint64_t mapped = pv_page(window);

	for (unsigned n = 0; n < 3; n++)
		out[n] = pv_pfn(pages[n]);
	in[0] = take_out(pages[0]);
	in[1] = mapped;
	in[2] = in[0];
	is(exchange(&x), -22, "the second one is mapped");
	is((int64_t)x.nr_exchanged, 1, "one is done");
	check(out[0] != in[0] && out[1] == pv_pfn(pages[1]), "... and no other", out[1]);
	put_in(pages[0], out[0]);
	check(is_zero(pages[0]), "of zeros", 0);
	in[1] = in[0];
	is(exchange(&x), -22, "one that it has not any more");
	is((int64_t)x.nr_exchanged, 1, "it goes on where it was, and not further");
}

/* Eight for a row of eight, and back. */
static void
rows(void)
{
	struct xen_memory_exchange x = change_for(in, 0, out, 3, ROW);

	for (unsigned n = 0; n < ROW; n++)
		in[n] = take_out(pages[n]);
	out[0] = pv_pfn(pages[0]);
	in[7] = in[0];
	is(exchange(&x), -22, "one is there twice");
	is((int64_t)x.nr_exchanged, 0, "none is done");
	in[7] = pv_page(pages[7]);
	is(exchange(&x), 0, "for a row");
	check(out[0] % ROW == 0, "... whose number is a multiple", out[0]);
	for (unsigned n = 0; n < ROW; n++) {
		is((int64_t)pv_guest_frame(out[0] + n), (int64_t)pv_pfn(pages[n]), "... in a row");
		put_in(pages[n], out[0] + n);
		check(is_zero(pages[n]), "of zeros", n);
	}
	x = change_for(in, 3, out, 0, ROW);
	in[0] = out[0];
	for (unsigned n = 0; n < ROW; n++) {
		take_out(pages[n]);
		out[n] = pv_pfn(pages[n]);
	}
	put_in(pages[3], pv_page(pages[3]));
	is(exchange(&x), -22, "a row of which one is mapped");
	take_out(pages[3]);
	is(exchange(&x), 0, "a row for single ones");
	for (unsigned n = 0; n < ROW; n++)
		put_in(pages[n], out[n]);
}

void
exchanges(void)
{
	int64_t all = has();

	refused();
	in_part();
	rows();
	is(has(), all, "it has as many as before");
}

/*
 * A domain's memory: what it gives back and gets, one by one. `hostile=ME`: hostile.c, exchange.c,
 * many.c. `rounds=N`, under the name dom0: rounds.c, with `child`.
 */
#include <guest/pv/memory/memory.h>

int guest_main(const struct xen_start_info *info);

static page_t pages[4];

void
is(int64_t got, int64_t wanted, const char *what)
{
	check(got == wanted, what, (uint64_t)got);
}

bool
is_zero(const void *page)
{
	const uint64_t *word = page;

	for (unsigned n = 0; n < PAGE / 8; n++)
		if (word[n])
			return false;
	return true;
}

uint64_t
take_out(void *page)
{
	uint64_t mfn = pv_page(page);

	is(pv_map(page, 0), 0, "it is taken out");
	return mfn;
}

void
put_in(void *page, uint64_t mfn)
{
	pv_set_page(page, mfn);
	is(pv_map(page, mfn << 12 | FLAT), 0, "it is put in");
}

int64_t
has(void)
{
	return pv_reserved(XEN_XENMEM_current_reservation);
}

int64_t
exchange(struct xen_memory_exchange *x)
{
	return pv_memory_op(XEN_XENMEM_exchange, x);
}

struct xen_memory_exchange
change_for(const uint64_t *in, unsigned in_order, uint64_t *out, unsigned out_order,
	   uint64_t frames)
{
	return (struct xen_memory_exchange){
		.in = { (uint64_t)in, frames >> in_order, in_order, 0, XEN_DOMID_SELF },
		.out = { (uint64_t)out, frames >> out_order, out_order, 0, XEN_DOMID_SELF },
	};
}

/* ---- one by one ---- */

static void
shown(void)
{
	uint64_t first = pv_page(pages[0]), number = pv_pfn(pages[0]), mfn;
	int64_t all = has();
	struct xen_memory_exchange x;

	pv_printf("it has %s that it may have; one more: %ld\n",
		  all == pv_reserved(XEN_XENMEM_maximum_reservation) ? "all" : "less",
		  pv_reserve(MORE, NULL, 1, 0));
	memset(pages[0], 7, PAGE);
	pv_printf("one that it has mapped: %ld; ", pv_reserve(LESS, &first, 1, 0));
	take_out(pages[0]);
	pv_printf("that it has not: %ld, ", pv_reserve(LESS, &first, 1, 0));
	pv_printf("and once more: %ld\n", pv_reserve(LESS, &first, 1, 0));
	pv_printf("it has %ld; the frame is %s\n", has() - all,
		  pv_guest_frame(first) == ~0ul ? "nobody's" : "somebody's");
	mfn = number;
	pv_printf("populate: %ld; ", pv_reserve(FILL, &mfn, 1, 0));
	pv_printf("it is that guest frame: %s; ", pv_guest_frame(mfn) == number ? "yes" : "no");
	put_in(pages[0], mfn);
	pv_printf("of zeros: %s; it has %ld\n", is_zero(pages[0]) ? "yes" : "no", has() - all);

	first = take_out(pages[0]);
	pv_printf("decrease: %ld; ", pv_reserve(LESS, &first, 1, 0));
	pv_printf("increase: %ld; ", pv_reserve(MORE, &mfn, 1, 0));
	pv_printf("it is no guest frame: %s\n", pv_guest_frame(mfn) == ~0ul ? "yes" : "no");
	is(pv_update(mfn << 12 | XEN_MMU_MACHPHYS_UPDATE, number), 0, "it says which it is");
	put_in(pages[0], mfn);

	mfn = number;
	first = take_out(pages[0]);
	x = change_for(&first, 0, &mfn, 0, 1);
	pv_printf("exchange: %ld, ", exchange(&x));
	pv_printf("%lu of 1; ", x.nr_exchanged);
	pv_printf("another frame: %s, the same guest frame: %s\n", mfn != first ? "yes" : "no",
		  pv_guest_frame(mfn) == number ? "yes" : "no");
	put_in(pages[0], mfn);
}

int
guest_main(const struct xen_start_info *info)
{
	unsigned me, seed;

	pv_init(info);
	me = pv_number("hostile=");
	seed = pv_number("child=");
	pv_take_traps();
	pv_handler = caught;
	pv_events_init();
	is(pv_grants_init(), 0, "a table");
	if (pv_number("rounds="))
		return rounds(pv_number("rounds="));
	if (seed)
		child(seed);
	if (me) {
		hostile((uint16_t)me);
		exchanges();
		many();
	} else
		shown();
	pv_printf("%u wrong; the end\n", wrong);
	return (int)wrong;
}

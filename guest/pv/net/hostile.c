/*
 * What a front end must not be able to do: `harm=WORD`. It sends what is no frame, breaks the
 * rings' and the store's rules, or ends at any step (`die=N`); its own card is closed to it, or
 * not, and nothing else comes of it. Of these `page` and `die=` ask any back end; the others know
 * what dom0's does.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/text.h>
#include <guest/pv/net/net.h>

#define PATIENCE 20000000ul /* ns that a state may need to be another one */
#define NOTHING  99         /* in place of a status: no answer came, or another one */
#define MOST     24u        /* entries that belong together */

static uint8_t page[4096] __attribute__((aligned(4096)));

/* ---- the rings, by hand ---- */

/* Until it comes, or it is clear that it does not. */
static bool
back_becomes(enum xen_xenbus_state state)
{
	uint64_t until = pv_now() + 100 * PATIENCE;

	while (pv_now() < until) {
		if (device_state(&card.dev, card.dev.there) == state)
			return true;
		if (bus.ring->rsp_prod == bus.ring->rsp_cons) /* else its event has been taken */
			pv_wait(&pv_info->store_evtchn, 1, pv_now() + PATIENCE);
	}
	return false;
}

static void
show(enum xen_xenbus_state state)
{
	card.dev.mine = state;
	device_show(&card.dev, state);
}

static void
put(union xen_netif_tx_entry e)
{
	((volatile union xen_netif_tx_entry *)
		 memory.tx.entry)[card.tx.req_prod++ % XEN_NETIF_RING] = e;
}

static void
push(void)
{
	if (ring_push_requests(&card.tx))
		pv_send(card.port);
}

/* What these entries are answered: the first one's status. */
static int
answer_to(const union xen_netif_tx_entry *e, unsigned count)
{
	uint64_t until = pv_now() + 100 * PATIENCE;
	struct xen_netif_tx_response r;
	uint32_t came;

	for (unsigned n = 0; n < count; n++)
		put(e[n]);
	push();
	while ((came = ring_last_responses(&card.tx)) < count && pv_now() < until)
		pv_wait(&card.port, 1, pv_now() + PATIENCE);
	if (came != count)
		return NOTHING;
	r = ((volatile union xen_netif_tx_entry *)
		     memory.tx.entry)[card.tx.rsp_cons % XEN_NETIF_RING]
		    .response;
	card.tx.rsp_cons += count;
	return r.id == e[0].request.id ? r.status : NOTHING;
}

/* A frame to dom0 that says nothing to it. */
static void
make_frame(void)
{
	static const uint8_t head[] = { 0, 0x16, 0x3e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xb5 };

	memset(page, 0x5a, sizeof(page));
	memcpy(page, head, sizeof(head));
	memcpy(page + 6, card.mac, 6);
}

static union xen_netif_tx_entry
good(uint32_t ref)
{
	return (union xen_netif_tx_entry){
		.request = { .gref = ref, .id = (uint16_t)draw(0x10000), .size = 60 }
	};
}

/* ---- frames ---- */

static const struct {
	const char *what;
	uint32_t ref; /* 0: the good one */
	uint16_t offset, flags, size;
	int status;
} rows[] = {
	{ "a good one", 0, 0, 0, 60, 0 },
	{ "of the longest", 0, 0, 0, 1514, 0 },
	{ "at its page's end", 0, 4036, 0, 60, 0 },
	{ "of the shortest", 0, 0, 0, 14, 0 },
	{ "shorter", 0, 0, 0, 13, -1 },
	{ "empty", 0, 0, 0, 0, -1 },
	{ "longer", 0, 0, 0, 1515, -1 },
	{ "as long as there are numbers", 0, 0, 0, 65535, -1 },
	{ "beyond its page", 0, 4037, 0, 60, -1 },
	{ "far beyond", 0, 65535, 0, 60, -1 },
	{ "of nobody's grant", 511, 0, 0, 60, -1 },
	{ "of no grant that there can be", ~0u, 0, 0, 60, -1 },
	{ "that wants a checksum, and has no place for one", 0, 0, XEN_NETTXF_csum_blank, 60, -1 },
	{ "with flags that nobody knows", 0, 0, 0xfff0, 60, 0 },
};

/* From what is in the page at 4036 on, too: it is no frame of its own. */
static void
bad_frames(void)
{
	uint32_t ref = refs_grant(&refs, (uint16_t)card.dev.peer, page, true);
	union xen_netif_tx_entry e;

	make_frame();
	memcpy(page + 4036, page, 60);
	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		int status;

		e = good(rows[n].ref ? rows[n].ref : ref);
		e.request.offset = rows[n].offset;
		e.request.flags = rows[n].flags;
		e.request.size = rows[n].size;
		status = answer_to(&e, 1);
		check(status == rows[n].status, rows[n].what, (uint64_t)(int64_t)status);
	}
	memcpy(page + 12, "\x8\x6", 2); /* ARP: who it is */
	put32(page + 28, INET_IP(10, 0, 2, 9));
	e = good(ref);
	check(answer_to(&e, 1) == XEN_NETIF_RSP_OKAY, "under its own IP address", 0);
	put32(page + 28, INET_IP(10, 0, 2, 8));
	check(answer_to(&e, 1) == XEN_NETIF_RSP_DROPPED, "under somebody else's", 0);
	memmove(page + 16, page + 12, 44);
	put32(page + 12, ETH_TAG << 16); /* of no VLAN: whoever gets it looks behind it */
	check(answer_to(&e, 1) == XEN_NETIF_RSP_DROPPED, "... behind a tag", 0);
	memmove(page + 12, page + 16, 44);
	page[11] ^= 1;
	put32(page + 28, INET_IP(10, 0, 2, 9));
	check(answer_to(&e, 1) == XEN_NETIF_RSP_DROPPED, "under somebody else's address", 0);
	check(refs_end(&refs, ref), "the page is its own again", ref);
	check(answer_to(&e, 1) == XEN_NETIF_RSP_ERROR, "a page that was granted once", 0);
	ref = refs_grant(&refs, 1, page, true);
	e = good(ref);
	check(answer_to(&e, 1) == XEN_NETIF_RSP_ERROR, "what somebody else may read", 0);
	refs_end(&refs, ref);
}

/* ---- frames of several entries ---- */

/* So many pieces, the first of which says `size`, each other one `each`. */
static int
pieces(uint32_t ref, unsigned count, unsigned size, unsigned each)
{
	union xen_netif_tx_entry e[MOST];

	for (unsigned n = 0; n < count; n++) {
		e[n] = good(ref);
		e[n].request.size = (uint16_t)(n ? each : size);
		e[n].request.flags = n + 1 < count ? XEN_NETTXF_more_data : 0;
	}
	return answer_to(e, count);
}

/* An entry behind which there is to be another one, and is none: nobody knows where it goes on. */
static void
ends_in_the_middle(uint32_t ref, unsigned flag)
{
	union xen_netif_tx_entry e = good(ref);

	e.request.flags = (uint16_t)flag;
	put(e);
	push();
	check(back_becomes(XEN_XENBUS_Closed), "its rings are closed", flag);
}

static void
comes_again(void)
{
	uint64_t until = pv_now() + 100 * PATIENCE;

	while (card.dev.mine != XEN_XENBUS_Closed && pv_now() < until)
		net_serve(&card);
	show(XEN_XENBUS_Initialising);
	check(!net_connect(&card), "and opened", 0);
}

static void
chains(void)
{
	uint32_t ref = refs_grant(&refs, (uint16_t)card.dev.peer, page, true);
	union xen_netif_tx_entry e[MOST];

	make_frame();
	check(pieces(ref, 2, 60, 20) == 0, "two pieces", 0);
	check(pieces(ref, XEN_NETIF_SLOTS, 1514, 50) == 0, "as many as there may be", 0);
	check(pieces(ref, 3, 60, 30) == 0, "the first one empty", 0);
	check(pieces(ref, 3, 60, 31) == -1, "longer than the whole", 0);
	check(pieces(ref, 3, 60, 65535) == -1, "... by far", 0);
	e[0] = good(ref);
	e[0].request.flags = XEN_NETTXF_extra_info;
	for (unsigned n = 1; n < MOST; n++)
		e[n].extra = (struct xen_netif_extra_info){
			.type = (uint8_t)(n == 1 ? XEN_NETIF_EXTRA_GSO : draw(256)),
			.flags = n + 1 < MOST ? XEN_NETIF_EXTRA_MORE : 0,
		};
	check(answer_to(e, MOST) == -1, "extras that were not offered", 0);
	e[1].extra.flags = 0;
	check(answer_to(e, 2) == -1, "one of them", 0);
	check(pieces(ref, XEN_NETIF_SLOTS + 1, 1514, 50) == NOTHING, "too many", 0);
	check(back_becomes(XEN_XENBUS_Closed), "its rings are closed", 0);
	comes_again();
	ends_in_the_middle(ref, XEN_NETTXF_more_data);
	comes_again();
	ends_in_the_middle(ref, XEN_NETTXF_extra_info);
	comes_again();
	check(pieces(ref, 2, 60, 20) == 0, "and is good", 0);
	refs_end(&refs, ref);
}

/* Entries of any bytes; most of one thing or the other. */
static void
any_frames(void)
{
	uint32_t ref = refs_grant(&refs, (uint16_t)card.dev.peer, page, true);

	make_frame();
	for (unsigned n = 0; n < 400; n++) {
		union xen_netif_tx_entry e;
		int status;

		for (unsigned k = 0; k < sizeof(e); k++)
			((uint8_t *)&e)[k] = (uint8_t)draw(256);
		e.request.flags &= (uint16_t) ~(XEN_NETTXF_more_data | XEN_NETTXF_extra_info);
		if (draw(8))
			e.request.gref = ref;
		if (draw(4))
			e.request.offset = (uint16_t)draw(2) * 16;
		if (draw(4))
			e.request.size = (uint16_t)draw(1600);
		for (unsigned k = 0; k < 4;
		     k++) /* and a frame of any bytes, behind its addresses */
			page[12 + draw(60)] = (uint8_t)draw(256);
		if (draw(2))
			memcpy(page + 12, "\x08\x00\x45", 3);
		status = answer_to(&e, 1);
		check(status <= 0 && status >= -2, "any frame is answered", n);
	}
	refs_end(&refs, ref);
}

/* A frame that goes beyond its page. A back end refuses it, or answers nothing any more. */
static void
beyond_page(void)
{
	union xen_netif_tx_entry e = good(refs_grant(&refs, (uint16_t)card.dev.peer, page, true));
	int status;

	make_frame();
	e.request.offset = 4000;
	e.request.size = 200;
	status = answer_to(&e, 1);
	check(status == -1 || (card.dev.peer && status == NOTHING), "it is refused",
	      (uint64_t)(int64_t)status);
}

/* ---- indices ---- */

/* The rings are nonsense: they are closed; and when this end begins anew, it has a card again. */
static void
jumps(void)
{
	static const uint32_t by[] = { 257, 512, 1u << 31, ~0u, ~255u };
	uint32_t ref = refs_grant(&refs, (uint16_t)card.dev.peer, page, true);

	make_frame();
	for (unsigned n = 0; n < sizeof(by) / sizeof(by[0]); n++) {
		union xen_netif_tx_entry e = good(ref);

		memory.tx.ring.req_prod = card.tx.req_prod + by[n];
		pv_send(card.port);
		check(back_becomes(XEN_XENBUS_Closed), "its rings are closed", by[n]);
		comes_again();
		check(answer_to(&e, 1) == 0, "and are good", by[n]);
	}
	for (unsigned n = 0; n < sizeof(by) / sizeof(by[0]); n++) {
		for (unsigned k = 0; k < 3; k++) { /* it is seen when an answer comes */
			inet_ping(&stack, INET_IP(10, 0, 2, 1), 1, 1, 8);
			net_push(&card);
			memory.rx.ring.req_prod = memory.rx.ring.rsp_prod + by[n];
			pv_wait(&pv_info->store_evtchn, 1, pv_now() + PATIENCE / 10);
		}
		check(back_becomes(XEN_XENBUS_Closed), "its rings are closed", by[n]);
		comes_again();
	}
	refs_end(&refs, ref);
}

/* The words of the rings that are the other end's, and any bytes of them, while it serves. */
static void
shakes(void)
{
	volatile uint8_t *const rings[] = { (void *)&memory.tx, (void *)&memory.rx };
	uint32_t ref = refs_grant(&refs, (uint16_t)card.dev.peer, page, false);

	make_frame();
	for (unsigned n = 0; n < 300; n++) {
		volatile uint32_t *words = (void *)rings[draw(2)];

		put(good(ref));
		push();
		if (!draw(8))
			words[draw(4)] = draw(2) ? (uint32_t)draw(~0u) : card.tx.req_prod;
		pv_send(card.port);
		for (uint64_t k = draw(20); k; k--) /* they are changed while they are looked at */
			rings[draw(2)][64 + draw(3072)] = (uint8_t)draw(256);
		if (!draw(4))
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
		if (!draw(16)) {
			show(XEN_XENBUS_Initialising);
			net_connect(&card);
		}
	}
	refs_end(&refs, ref);
}

/* ---- room that is none ---- */

/* dom0 answers what is asked, and its answer has nowhere to go. Others' questions come, too. */
static bool
answer_is_lost(void)
{
	uint64_t until = pv_now() + 100 * PATIENCE;
	uint32_t at = memory.rx.ring.rsp_prod;

	while (pv_now() < until) {
		inet_ping(&stack, INET_IP(10, 0, 2, 1), 1, 1, 8);
		net_push(&card);
		pv_wait(&card.port, 1, pv_now() + PATIENCE);
		for (; at != memory.rx.ring.rsp_prod; at++)
			if (memory.rx.entry[at % XEN_NETIF_RING].response.status ==
			    XEN_NETIF_RSP_ERROR)
				return true;
	}
	return false;
}

static void
bad_room(void)
{
	uint32_t theirs = refs_grant(&refs, 1, page, false);
	uint32_t read_only = refs_grant(&refs, (uint16_t)card.dev.peer, page, true);
	const uint32_t grefs[] = { 511, ~0u, theirs, read_only };
	uint8_t before[64];

	memcpy(before, page, sizeof(before));
	for (unsigned n = 0; n < sizeof(grefs) / sizeof(grefs[0]); n++) {
		for (unsigned k = 0; k < NET_ROOM; k++)
			memory.rx.entry[k].request.gref = grefs[n];
		check(answer_is_lost(), "there is no room", n);
		check(!memcmp(before, page, sizeof(before)), "nothing has been written", n);
		show(XEN_XENBUS_Initialising);
		check(!net_connect(&card), "it begins anew", n);
	}
	refs_end(&refs, theirs);
	refs_end(&refs, read_only);
}

/* ---- the store ---- */

/* What it says of its rings. */
static void
say_rings(const char *key, const char *value)
{
	static const char *const keys[][2] = { { "tx-ring-ref", "8" },
					       { "rx-ring-ref", "9" },
					       { "event-channel", "3" },
					       { "request-rx-copy", "1" } };

	for (unsigned n = 0; n < 4; n++)
		xenbus_write(&bus, 0, card.dev.here, keys[n][0], keys[n][1]);
	xenbus_write(&bus, 0, card.dev.here, key, value);
}

static void
store(void)
{
	static const char *const states[] = { "", "x", "99", "-1", "18446744073709551620" };
	static const char *const keys[] = { "tx-ring-ref", "rx-ring-ref", "event-channel",
					    "request-rx-copy", "multi-queue-num-queues" };
	static const char *const values[] = { "0", "511", "4294967296", "", "-1" };

	check(xenbus_write(&bus, 0, card.dev.there, "mac", "x") == -EACCES, "dom0's", 0);
	check(xenbus_write(&bus, 0, card.dev.there, "state", "4") == -EACCES, "dom0's", 1);
	for (unsigned n = 0; n < sizeof(states) / sizeof(states[0]); n++) {
		check(!xenbus_write(&bus, 0, card.dev.here, "state", states[n]), "its own", n);
		check(back_becomes(XEN_XENBUS_Closed), "it has gone, then", n);
		show(XEN_XENBUS_Unknown);
		check(!net_connect(&card), "and comes again", n);
	}
	for (unsigned k = 0; k < 5; k++) /* what is no number there says nothing of queues */
		for (unsigned n = 0; n < (k < 4 ? 5 : 3); n++) {
			show(XEN_XENBUS_Initialising);
			check(back_becomes(XEN_XENBUS_InitWait), "it waits for rings", n);
			say_rings(keys[k], values[n]);
			device_show(&card.dev, XEN_XENBUS_Connected);
			check(back_becomes(XEN_XENBUS_Closed), "there are none such", k * 10 + n);
		}
	check(!xenbus_write(&bus, 0, card.dev.here, "mac", "00:16:3e:00:00:00"), "its own", 0);
	for (unsigned n = 0; n < 300; n++) /* a flood */
		xenbus_write(&bus, 0, card.dev.here, "state", n & 1 ? "1" : "4");
	check(!xenbus_remove(&bus, 0, card.dev.here), "its own place", 0);
}

/* ---- it ends ---- */

static void
at_step(unsigned step)
{
	if (step == pv_number("die="))
		pv_exit(1);
}

/* All that an end does, one after the other. */
static void
ends_at(void)
{
	uint32_t ref = refs_grant(&refs, (uint16_t)card.dev.peer, page, true);

	at_step(1);
	show(XEN_XENBUS_Initialising);
	at_step(2);
	back_becomes(XEN_XENBUS_InitWait);
	at_step(3);
	card.dev.mine = XEN_XENBUS_Unknown;
	net_connect(&card);
	at_step(4);
	make_frame();
	memset(page, 255, 6); /* to all */
	for (unsigned n = 0; n < 40; n++)
		put(good(ref));
	push();
	at_step(5);
	show(XEN_XENBUS_Closing);
	at_step(6);
	back_becomes(XEN_XENBUS_Closed);
	at_step(7);
}

static const struct {
	const char *word;
	void (*run)(void);
} harms[] = {
	{ "harm=frames", bad_frames }, { "harm=chains", chains }, { "harm=any", any_frames },
	{ "harm=page", beyond_page },  { "harm=jump", jumps },    { "harm=shake", shakes },
	{ "harm=room", bad_room },     { "harm=store", store },
};

void
harm(void)
{
	if (pv_number("die="))
		ends_at();
	check(!net_connect(&card), "it has a card", 0);
	begin_stack();
	for (unsigned n = 0; n < sizeof(harms) / sizeof(harms[0]); n++)
		if (has_word(harms[n].word))
			harms[n].run();
	pv_printf("%u wrong; nothing has come of it\n", wrong);
	pv_exit(wrong != 0);
}

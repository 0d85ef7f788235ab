/* BUILD: guest/dom0/tree.c guest/dom0/store.c guest/dom0/clients.c guest/dom0/watch.c
 * guest/dom0/transaction.c guest/dom0/store_ring.c guest/dom0/perms.c */
/*
 * The ring between a domain and dom0's store, by chance: requests and answers in pieces, and a dom0
 * that another one follows.
 */
#include <string.h>

#include "store_chance.h"
#include "tap.h"

static void
put(struct xen_store_ring *r, const void *bytes, uint32_t count)
{
	for (uint32_t n = 0; n < count; n++)
		r->req[r->req_prod++ % XEN_STORE_RING] = ((const uint8_t *)bytes)[n];
}

/* A request of any length in pieces, whose answer is read in pieces. */
static bool
round_trip(struct store_ring *s, struct store_page *p, struct store_client *c, uint32_t id)
{
	struct xen_store_ring *r = &p->ring;
	static uint8_t message[16 + XEN_STORE_PAYLOAD], got[16 + XEN_STORE_PAYLOAD];
	struct xen_xsd_sockmsg head = { XEN_XS_WRITE, id, 0, 5 + draw(XEN_STORE_PAYLOAD - 4) };
	uint32_t size = 16 + head.len, sent = 0, read = 0;

	memcpy(message, &head, 16);
	memset(message + 16, 'a' + (int)(id % 26), head.len);
	memcpy(message + 16, "/key", 5);
	for (unsigned n = 0; n < 2 && sent == read; n++) { /* write it, and then read it */
		while (sent < size) {
			uint32_t some = draw(2 + XEN_STORE_RING - (r->req_prod - r->req_cons));

			some = some < size - sent ? some : size - sent;
			some = some < XEN_STORE_RING - (r->req_prod - r->req_cons)
				       ? some
				       : XEN_STORE_RING - (r->req_prod - r->req_cons);
			put(r, message + sent, some);
			sent += some;
			store_ring_serve(s, p, &store, c);
		}
		for (read = 0; read < 16 || read < 16 + ((struct xen_xsd_sockmsg *)got)->len;) {
			if (r->rsp_cons == r->rsp_prod && !store_ring_serve(s, p, &store, c))
				return false;
			for (uint32_t some = 1 + draw(700); some && r->rsp_cons != r->rsp_prod;
			     some--)
				got[read++] = r->rsp[r->rsp_cons++ % XEN_STORE_RING];
		}
		if (!n && memcmp(got + 16, "OK", 3))
			return false;
		if (n)
			return ((struct xen_xsd_sockmsg *)got)->len == head.len - 5 &&
			       !memcmp(got + 16, message + 21, head.len - 5);
		size = 16 + 5;
		sent = read = 0;
		message[0] = XEN_XS_READ;
		message[12] = 5;
		message[13] = 0;
	}
	return false;
}

static void
ring(void)
{
	static struct store_page p;
	static struct store_ring s;
	struct xen_store_ring *r = &p.ring;
	struct store_client *c;
	unsigned bad = 0;

	store_init(&store);
	c = store_introduce(&store, 0);
	r->req_cons = r->req_prod = r->rsp_cons = r->rsp_prod = 0xffffff00;
	for (unsigned n = 0; n < 500; n++)
		bad += !round_trip(&s, &p, c, n);
	is_u64(bad, 0, "values of any length through the ring and back");
	r->req_prod = r->req_cons + XEN_STORE_RING + 1;
	ok(store_ring_serve(&s, &p, &store, c) && r->error == XEN_STORE_ERROR_RINGIDX,
	   "more than a ring: told");
	r->req_prod = r->req_cons;
	ok(!store_ring_serve(&s, &p, &store, c), "... and the end of all answers");
	memset(&s, 0, sizeof(s));
	put(r, &(struct xen_xsd_sockmsg){ XEN_XS_READ, 1, 0, XEN_STORE_PAYLOAD + 1 }, 16);
	ok(store_ring_serve(&s, &p, &store, c) && r->error == XEN_STORE_ERROR_PROTO,
	   "too long: told");
	for (unsigned n = 0; n < 1000; n++) {
		for (unsigned k = 0; k < sizeof(p) / 4; k++)
			((uint32_t *)&p)[k] = draw(4) ? draw(1500) : draw(~0u);
		s.broken = NULL;
		c->broken = false;
		bad += store_ring_serve(&s, &p, &store, c);
	}
	ok(bad, "pages of anything: %u times something happened", bad);
	store_end(&store);
	is_u64(alive, 0, "all memory is given back");
}

/* ---- dom0 ends, and another one comes ---- */

static struct {
	struct store_page page;
	uint8_t out[20 + XEN_STORE_PAYLOAD], in[20 + XEN_STORE_PAYLOAD];
	uint32_t out_size, sent, read;
	uint32_t asked, answered, eio;
} guest;

/* The next request is on its way, or some more of it: of those that wait three at most. */
static void
guest_asks(void)
{
	struct xen_store_ring *r = &guest.page.ring;
	uint32_t room = XEN_STORE_RING - (r->req_prod - r->req_cons), some = draw(room + 1);

	if (guest.sent == guest.out_size && guest.asked - guest.answered < 3) {
		struct xen_xsd_sockmsg head = { draw(2) ? XEN_XS_WRITE : XEN_XS_READ, ++guest.asked,
						0, 5 };

		head.len += head.type == XEN_XS_READ ? 0
			    : draw(8)                ? draw(900)
						     : draw(XEN_STORE_PAYLOAD - 5);
		memset(guest.out, 'v', sizeof(guest.out));
		memcpy(guest.out, &head, 16);
		memcpy(guest.out + 16, "/key", 5);
		guest.out_size = 16 + head.len;
		guest.sent = 0;
	}
	some = some < guest.out_size - guest.sent ? some : guest.out_size - guest.sent;
	put(r, guest.out + guest.sent, some);
	guest.sent += some;
}

/* What comes is an answer to each, one behind the other. False: it is out of step. */
static bool
guest_hears(void)
{
	struct xen_store_ring *r = &guest.page.ring;
	struct xen_xsd_sockmsg head;

	for (uint32_t some = draw(1500); some && r->rsp_cons != r->rsp_prod; some--) {
		guest.in[guest.read++] = r->rsp[r->rsp_cons++ % XEN_STORE_RING];
		memcpy(&head, guest.in, 16);
		if (guest.read >= 16 && head.len > XEN_STORE_PAYLOAD)
			return false;
		if (guest.read < 16 || guest.read < 16 + head.len)
			continue;
		guest.read = 0;
		if (head.req_id != ++guest.answered)
			return false;
		guest.eio += head.type == XEN_XS_ERROR && !memcmp(guest.in + 16, "EIO", 4);
	}
	return true;
}

/* One at a time, of this length, with a new dom0 before each look at the ring: none is lost. */
static bool
small_ones(void)
{
	for (uint32_t len = 5; len <= XEN_STORE_RING - 16; len++) {
		struct xen_xsd_sockmsg head = { XEN_XS_WRITE, len, 0, len }, got;
		struct store_ring s;
		struct store_client *c;

		memset(&guest, 0, sizeof(guest));
		memcpy(guest.out, &head, 16);
		memcpy(guest.out + 16, "/key", 5);
		for (uint32_t n = 0; n < 16 + len; n += 1 + len / 3) {
			put(&guest.page.ring, guest.out + n,
			    16 + len - n < 1 + len / 3 ? 16 + len - n : 1 + len / 3);
			store_init(&store);
			c = store_introduce(&store, 0);
			store_ring_goes_on(&s, &guest.page);
			store_ring_serve(&s, &guest.page, &store, c);
			store_end(&store);
		}
		memcpy(&got, guest.page.ring.rsp, 16);
		if (got.type != XEN_XS_WRITE || got.req_id != len ||
		    guest.page.ring.rsp_prod != 16 + 3)
			return false;
	}
	return true;
}

/* As Linux writes (xenbus_comms.c, xb_write): it rings for what it adds if all before was taken. */
static bool
as_linux_rings(void)
{
	struct xen_store_ring *r = &guest.page.ring;
	struct store_client *c;
	struct store_ring s;

	memset(&guest, 0, sizeof(guest));
	memset(&s, 0, sizeof(s));
	store_init(&store);
	c = store_introduce(&store, 0);
	for (uint32_t n = 1; n < 2000; n++) {
		struct xen_xsd_sockmsg head = { XEN_XS_READ, n, 0, 5 };
		uint32_t cut = draw(21), before = r->req_prod;

		memcpy(guest.out, &head, 16);
		memcpy(guest.out + 16, "/key", 5);
		put(r, guest.out, cut);
		if (before == r->req_cons)
			store_ring_serve(&s, &guest.page, &store, c);
		before = r->req_prod;
		put(r, guest.out + cut, 21 - cut);
		if (before == r->req_cons)
			store_ring_serve(&s, &guest.page, &store, c);
		if (r->rsp_prod == r->rsp_cons)
			return false;
		r->rsp_cons = r->rsp_prod;
	}
	store_end(&store);
	return true;
}

static void
hand_over(void)
{
	static struct store_ring s;
	struct store_client *c;
	unsigned ends = 0;
	bool in_step = true;

	ok(as_linux_rings(), "a request in two parts is answered, whatever Linux rings for");
	ok(small_ones(), "what fits into the ring is asked once, whoever is dom0 meanwhile");
	memset(&guest, 0, sizeof(guest));
	store_init(&store);
	c = store_introduce(&store, 0);
	for (unsigned n = 0; n < 40000 && in_step; n++) {
		if (!draw(20)) {
			store_end(&store);
			store_init(&store);
			c = store_introduce(&store, 0);
			store_ring_goes_on(&s, &guest.page);
			ends++;
		}
		guest_asks();
		store_ring_serve(&s, &guest.page, &store, c);
		in_step = guest_hears();
	}
	ok(in_step && guest.answered > 2000, "%u requests, each answered once, by %u dom0s",
	   guest.answered, ends);
	ok(guest.eio && guest.eio < guest.answered / 10, "... %u of them with EIO", guest.eio);
	store_end(&store);
	is_u64(alive, 0, "all memory is given back");
}

int
main(void)
{
	ring();
	hand_over();
	return done_testing();
}

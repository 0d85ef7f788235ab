/* BUILD: vmm/pv/events/rings.c */
/*
 * The console's and the store's ring: bytes come through in their order whatever their number, an
 * honest guest's requests are each answered once, and a lying one harms nobody.
 */
#include <string.h>

#include <vmm/pv/events/rings.h>

#include "draw.h"
#include "tap.h"

#define ROUNDS 20000u

/* ---- the console ---- */

static uint8_t next_heard;
static unsigned misheard;

static void
hear(void *ctx, uint8_t byte)
{
	misheard += byte != next_heard++;
}

static void
console(void)
{
	static struct xen_console_ring r;
	uint8_t said = 0, typed = 0, read = 0;
	unsigned bad = 0, most;

	r.in_cons = r.in_prod = r.out_cons = r.out_prod = 0xfffffe00; /* they will wrap */
	for (unsigned n = 0; n < ROUNDS; n++) {
		for (uint32_t k = draw(2049 - (r.out_prod - r.out_cons)); k; k--)
			r.out[r.out_prod++ % sizeof(r.out)] = said++;
		most = draw(3000);
		bad += pv_console_take(&r, most, hear, NULL) > most;
		while (draw(700) && pv_console_has_room(&r))
			pv_console_give(&r, typed++);
		while (draw(700) && r.in_cons != r.in_prod)
			bad += r.in[r.in_cons++ % sizeof(r.in)] != read++;
	}
	is_u64(misheard, 0, "what the guest says comes in its order");
	is_u64(bad, 0, "and what is typed for it, too");
	r.in_cons = r.in_prod - 1024;
	ok(!pv_console_has_room(&r), "a full ring takes no more");
	r.in_cons = r.in_prod + 1;
	ok(!pv_console_has_room(&r), "nor one whose guest has read what was not typed");
	r.out_prod = r.out_cons + 2049;
	is_u64(pv_console_take(&r, ~0u, hear, NULL), 0, "more than the ring holds is nothing");
}

/* ---- the store ---- */

static void
put(struct xen_store_ring *r, const void *bytes, uint32_t count)
{
	for (uint32_t n = 0; n < count; n++)
		r->req[r->req_prod++ % XEN_STORE_RING] = ((const uint8_t *)bytes)[n];
}

/* Whether an answer is there, and is the one for this. */
static bool
answered(struct xen_store_ring *r, const struct xen_xsd_sockmsg *to)
{
	uint8_t got[23];
	const struct xen_xsd_sockmsg want = { XEN_XS_ERROR, to->req_id, to->tx_id, 7 };

	if (r->rsp_prod - r->rsp_cons < sizeof(got))
		return false;
	for (unsigned n = 0; n < sizeof(got); n++)
		got[n] = r->rsp[r->rsp_cons++ % XEN_STORE_RING];
	return !memcmp(got, &want, sizeof(want)) && !memcmp(got + sizeof(want), "ENOENT", 7);
}

/* A request of any length, in pieces. */
static bool
asks(struct xen_store_ring *r, struct pv_store *s)
{
	static uint8_t message[16 + XEN_STORE_PAYLOAD];
	struct xen_xsd_sockmsg head = { draw(30), draw(~0u), draw(4), draw(XEN_STORE_PAYLOAD + 1) };
	uint32_t size = sizeof(head) + head.len, done = 0;

	memcpy(message, &head, sizeof(head));
	while (done < size) {
		uint32_t n = 1 + draw(XEN_STORE_RING);

		n = n < size - done ? n : size - done;
		put(r, message + done, n);
		done += n;
		if (!pv_store_serve(r, s) || r->req_cons != r->req_prod)
			return false;
	}
	return answered(r, &head) && r->rsp_cons == r->rsp_prod;
}

static void
store(void)
{
	static struct xen_store_ring r;
	struct pv_store s = { 0 };
	struct xen_xsd_sockmsg empty = { .req_id = 1 };
	unsigned bad = 0, n;

	r.req_cons = r.req_prod = r.rsp_cons = r.rsp_prod = 0xffffff00;
	for (n = 0; n < 3000; n++)
		bad += !asks(&r, &s);
	is_u64(bad, 0, "each request has its answer, in whatever pieces it came");
	for (n = 0; n < 64; n++)
		put(&r, &empty, sizeof(empty));
	ok(pv_store_serve(&r, &s), "64 requests at once");
	for (n = 0; answered(&r, &empty); n++)
		;
	is_u64(n, 1024 / 23, "... have as many answers as there is room");
	ok(pv_store_serve(&r, &s) && answered(&r, &empty), "... the others when there is some");
	r.rsp_cons = r.rsp_prod;
	empty.len = XEN_STORE_PAYLOAD + 1;
	s = (struct pv_store){ 0 };
	r.req_cons = r.req_prod;
	put(&r, &empty, sizeof(empty));
	ok(pv_store_serve(&r, &s) && r.error == XEN_STORE_ERROR_PROTO,
	   "too long: told, and the end");
	ok(!pv_store_serve(&r, &s), "... of all answers");
	s = (struct pv_store){ 0 };
	r.req_prod = r.req_cons + XEN_STORE_RING + 1;
	ok(pv_store_serve(&r, &s) && r.error == XEN_STORE_ERROR_RINGIDX,
	   "more than a ring: the same");
}

/* All bytes of both pages are anything at all: the sanitizers look, and it comes to an end. */
static void
scribbles(void)
{
	static union {
		struct xen_console_ring console;
		struct xen_store_ring store;
		uint32_t words[1024];
	} page;
	struct pv_store s = { 0 };
	unsigned taken = 0;

	for (unsigned n = 0; n < 3000; n++) {
		for (unsigned k = 0; k < 1024; k++)
			page.words[k] = draw(4) ? draw(1500) : draw(~0u);
		taken += pv_console_take(&page.console, ~0u, hear, NULL);
		if (pv_console_has_room(&page.console))
			pv_console_give(&page.console, 'x');
		s.broken = false;
		pv_store_serve(&page.store, &s);
	}
	ok(taken, "pages of anything: %u bytes said", taken);
}

int
main(void)
{
	console();
	store();
	scribbles();
	return done_testing();
}

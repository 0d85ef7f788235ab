/*
 * The store's messages by a domain's ring.
 */
#include <guest/dom0/store_ring.h>

#define ROUNDS 64u /* before others have their turn */

static bool
breaks(struct store_ring *s, volatile struct xen_store_ring *r, enum xen_store_error why)
{
	s->broken = true;
	r->error = why;
	return true;
}

/* Of a message of so many bytes, head and payload, the next ones. True: it is whole. */
static bool
take(struct store_ring *s, volatile struct xen_store_ring *r, uint32_t *at, uint32_t *count)
{
	for (; *count; ++*at, --*count) {
		uint8_t byte = r->req[*at % XEN_STORE_RING];

		if (s->taken < sizeof(s->head))
			s->head_bytes[s->taken++] = byte;
		else if (s->taken - sizeof(s->head) < s->head.len &&
			 s->head.len <= XEN_STORE_PAYLOAD)
			s->payload[s->taken++ - sizeof(s->head)] = (char)byte;
		else
			break;
	}
	return s->taken >= sizeof(s->head) &&
	       (s->taken == sizeof(s->head) + s->head.len || s->head.len > XEN_STORE_PAYLOAD);
}

/* The client's messages, while there is room for a byte. */
static bool
give(struct store_ring *s, volatile struct xen_store_ring *r, struct store_client *c)
{
	uint32_t begin = r->rsp_prod, used = begin - r->rsp_cons, at = begin;

	for (; used < XEN_STORE_RING && c->first; used++) {
		const struct store_message *m = c->first;
		uint32_t n = s->sent++, head = sizeof(m->head);

		r->rsp[at++ % XEN_STORE_RING] =
			n < head ? ((const uint8_t *)&m->head)[n] : (uint8_t)m->bytes[n - head];
		if (s->sent == head + m->head.len) {
			store_sent(c);
			s->sent = 0;
		}
	}
	r->rsp_prod = at;
	return at != begin;
}

/* One request more, unless the answer to the last one still waits. */
static bool
serve_one(struct store_ring *s, volatile struct xen_store_ring *r, struct store *store,
	  struct store_client *c)
{
	uint32_t begin = r->req_cons, at = begin, count = r->req_prod - at;
	bool whole;

	if (c->answers)
		return false;
	if (count > XEN_STORE_RING)
		return breaks(s, r, XEN_STORE_ERROR_RINGIDX);
	whole = take(s, r, &at, &count);
	r->req_cons = at;
	if (whole && s->head.len > XEN_STORE_PAYLOAD)
		return breaks(s, r, XEN_STORE_ERROR_PROTO);
	if (whole) {
		s->taken = 0;
		store_request(store, c, &s->head, s->payload);
	}
	return at != begin;
}

bool
store_ring_serve(struct store_ring *s, volatile struct xen_store_ring *r, struct store *store,
		 struct store_client *c)
{
	bool any = false, more = true;

	for (unsigned n = 0; n < ROUNDS && more && !s->broken; n++) {
		if (c->broken)
			return breaks(s, r, XEN_STORE_ERROR_COMM);
		more = serve_one(s, r, store, c);
		more |= give(s, r, c);
		any |= more;
	}
	return any;
}

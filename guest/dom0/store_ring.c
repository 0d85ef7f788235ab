/*
 * The store's messages by a domain's ring.
 */
#include <guest/dom0/store_ring.h>
#include <guest/pv/lib/text.h>

#define ROUNDS 64u /* before others have their turn */

static bool
breaks(struct store_ring *s, volatile struct xen_store_ring *r, enum xen_store_error error,
       const char *why)
{
	s->broken = why;
	r->error = error;
	return true;
}

/*
 * Of a message of so many bytes, head and payload, the next ones. True: it is whole. They are taken
 * as they come: Linux rings for the rest of a request only if all before it has been taken.
 */
static bool
take(struct store_ring *s, volatile struct store_page *p, uint32_t *at, uint32_t *count)
{
	for (; *count; ++*at, --*count) {
		uint8_t byte = p->ring.req[*at % XEN_STORE_RING];

		if (s->taken < sizeof(s->head))
			s->head_bytes[s->taken++] = byte;
		else if (s->taken - sizeof(s->head) < s->head.len &&
			 s->head.len <= XEN_STORE_PAYLOAD)
			s->payload[s->taken++ - sizeof(s->head)] = (char)byte;
		else
			break;
	}
	p->rest.head = s->head;
	return s->taken >= sizeof(s->head) &&
	       (s->taken == sizeof(s->head) + s->head.len || s->head.len > XEN_STORE_PAYLOAD);
}

/* What is left of a message whose first bytes another dom0 has sent. */
static uint32_t
fill(struct store_ring *s, volatile struct xen_store_ring *r, uint32_t at, uint32_t room)
{
	for (; room && s->unsent; room--, s->unsent--)
		r->rsp[at++ % XEN_STORE_RING] = 0;
	return at;
}

/*
 * The client's messages, as far as there is room; one that fits into the ring goes as a whole, of
 * others the head does. With the first bytes of its answer a request is over.
 */
static bool
give(struct store_ring *s, volatile struct store_page *p, struct store_client *c)
{
	volatile struct xen_store_ring *r = &p->ring;
	uint32_t begin = r->rsp_prod, used = begin - r->rsp_cons, at;

	if (used > XEN_STORE_RING)
		return false;
	at = fill(s, r, begin, XEN_STORE_RING - used);
	while (c->first && !s->unsent) {
		const struct store_message *m = c->first;
		uint32_t head = sizeof(m->head), size = head + m->head.len - s->sent;
		uint32_t room = XEN_STORE_RING - used - (at - begin);

		if (room < (s->sent ? 1 : size <= XEN_STORE_RING ? size : head))
			break;
		if (!s->sent)
			p->rest.ends = at + size;
		for (; size && room; size--, room--, s->sent++)
			r->rsp[at++ % XEN_STORE_RING] =
				s->sent < head ? ((const uint8_t *)&m->head)[s->sent]
					       : (uint8_t)m->bytes[s->sent - head];
		r->rsp_prod = at;
		if (!m->of)
			p->rest.begun = r->req_cons;
		if (size)
			break;
		store_sent(c);
		s->sent = 0;
	}
	r->rsp_prod = at;
	return at != begin;
}

/* One request more, unless the answer to the last one still waits. */
static bool
serve_one(struct store_ring *s, volatile struct store_page *p, struct store *store,
	  struct store_client *c)
{
	volatile struct xen_store_ring *r = &p->ring;
	uint32_t begin = r->req_cons, at = begin, count = r->req_prod - at;
	bool whole;

	if (c->answers)
		return false;
	if (count > XEN_STORE_RING)
		return breaks(s, r, XEN_STORE_ERROR_RINGIDX,
			      "it says that its ring has more than there is room");
	whole = take(s, p, &at, &count);
	r->req_cons = at;
	if (s->taken >= sizeof(s->head) && s->head.len > XEN_STORE_PAYLOAD)
		return breaks(s, r, XEN_STORE_ERROR_PROTO, "a request is too long");
	if (!whole)
		return at != begin;
	if (s->lost)
		store_lost(store, c, &s->head);
	else
		store_request(store, c, &s->head, s->payload);
	s->lost = false;
	s->taken = 0;
	return true;
}

bool
store_ring_serve(struct store_ring *s, volatile struct store_page *p, struct store *store,
		 struct store_client *c)
{
	bool any = false, more = true;

	for (unsigned n = 0; n < ROUNDS && more && !s->broken; n++) {
		if (c->broken)
			return breaks(s, &p->ring, XEN_STORE_ERROR_COMM,
				      "it has read too little of what it is told");
		more = serve_one(s, p, store, c);
		more |= give(s, p, c);
		any |= more;
	}
	return any;
}

void
store_ring_goes_on(struct store_ring *s, volatile struct store_page *p)
{
	const uint32_t most = sizeof(s->head) + XEN_STORE_PAYLOAD;
	uint32_t taken = p->ring.req_cons - p->rest.begun;
	uint32_t unsent = p->rest.ends - p->ring.rsp_prod;

	memset(s, 0, sizeof(*s));
	if (taken > most || unsent > most) { /* nobody has said anything there, or nonsense */
		p->rest.begun = p->ring.req_cons;
		p->rest.ends = p->ring.rsp_prod;
		return;
	}
	s->head = p->rest.head;
	s->taken = taken > sizeof(s->head) + (uint64_t)s->head.len ? 0 : taken;
	s->lost = p->ring.req_prod - p->rest.begun > XEN_STORE_RING && s->taken > sizeof(s->head);
	for (uint32_t n = sizeof(s->head); n < s->taken && !s->lost; n++)
		s->payload[n - sizeof(s->head)] =
			(char)p->ring.req[(p->rest.begun + n) % XEN_STORE_RING];
	s->unsent = unsent;
}

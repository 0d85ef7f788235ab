/*
 * Consoles and stores, as io/console.h and io/xs_wire.h say.
 */
#include <vmm/pv/events/rings.h>

unsigned
pv_console_take(volatile struct xen_console_ring *r, unsigned most,
		void (*put)(void *ctx, uint8_t byte), void *ctx)
{
	uint32_t at = r->out_cons, count = r->out_prod - at;

	if (count > sizeof(r->out))
		return 0;
	count = count < most ? count : most;
	for (uint32_t n = 0; n < count; n++)
		put(ctx, r->out[(at + n) % sizeof(r->out)]);
	r->out_cons = at + count;
	return count;
}

bool
pv_console_has_room(const volatile struct xen_console_ring *r)
{
	uint32_t at = r->in_prod;

	return at - r->in_cons < sizeof(r->in);
}

void
pv_console_give(volatile struct xen_console_ring *r, uint8_t byte)
{
	uint32_t at = r->in_prod;

	r->in[at % sizeof(r->in)] = byte;
	r->in_prod = at + 1;
}

/* ---- the store ---- */

static bool
broken(volatile struct xen_store_ring *r, struct pv_store *s, enum xen_store_error why)
{
	s->broken = true;
	r->error = why;
	return true;
}

/* The next bytes of a request, up to its end. False: it is not all there yet. */
static bool
take_request(volatile struct xen_store_ring *r, struct pv_store *s, uint32_t *at, uint32_t *count)
{
	for (; *count; ++*at, --*count, s->taken++) {
		if (s->taken >= sizeof(s->head) && s->taken == sizeof(s->head) + s->head.len)
			break;
		if (s->taken < sizeof(s->head))
			s->head_bytes[s->taken] = r->req[*at % XEN_STORE_RING];
		else if (s->head.len > XEN_STORE_PAYLOAD)
			break;
	}
	return s->taken >= sizeof(s->head) &&
	       (s->head.len > XEN_STORE_PAYLOAD || s->taken == sizeof(s->head) + s->head.len);
}

/* False: there is no room for it yet. */
static bool
answer(volatile struct xen_store_ring *r, const struct pv_store *s)
{
	static const char words[] = "ENOENT";
	struct {
		struct xen_xsd_sockmsg head;
		char words[sizeof(words)];
	} reply = { { XEN_XS_ERROR, s->head.req_id, s->head.tx_id, sizeof(words) }, "ENOENT" };
	const uint32_t size = sizeof(reply.head) + sizeof(words);
	uint32_t at = r->rsp_prod;

	if (at - r->rsp_cons > XEN_STORE_RING - size)
		return false;
	for (uint32_t n = 0; n < size; n++)
		r->rsp[(at + n) % XEN_STORE_RING] = ((const uint8_t *)&reply)[n];
	r->rsp_prod = at + size;
	return true;
}

bool
pv_store_serve(volatile struct xen_store_ring *r, struct pv_store *s)
{
	uint32_t begin = r->req_cons, at = begin, count = r->req_prod - at;
	bool answered = false;

	if (s->broken)
		return false;
	if (count > XEN_STORE_RING)
		return broken(r, s, XEN_STORE_ERROR_RINGIDX);
	while (take_request(r, s, &at, &count)) {
		if (s->head.len > XEN_STORE_PAYLOAD)
			return broken(r, s, XEN_STORE_ERROR_PROTO);
		if (!answer(r, s))
			break;
		answered = true;
		s->taken = 0;
	}
	r->req_cons = at;
	return answered || at != begin;
}

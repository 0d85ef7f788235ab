/*
 * The ring's indices, for both ends.
 */
#include <guest/pv/drivers/ring.h>

uint32_t
ring_room(const struct ring_front *f)
{
	return f->size - (f->req_prod - f->rsp_cons);
}

/* Whether the index has come past the one with which the other end wants to be rung. */
static bool
ring_rings(uint32_t before, uint32_t now, uint32_t event)
{
	return now - event < now - before;
}

bool
ring_push_requests(struct ring_front *f)
{
	uint32_t before = ring_load(&f->shared->req_prod);

	ring_store(&f->shared->req_prod, f->req_prod);
	ring_fence();
	return ring_rings(before, f->req_prod, ring_load(&f->shared->req_event));
}

bool
ring_push_responses(struct ring_back *b)
{
	uint32_t before = ring_load(&b->shared->rsp_prod);

	ring_store(&b->shared->rsp_prod, b->rsp_prod);
	ring_fence();
	return ring_rings(before, b->rsp_prod, ring_load(&b->shared->rsp_event));
}

uint32_t
ring_responses(const struct ring_front *f)
{
	uint32_t count = ring_load(&f->shared->rsp_prod) - f->rsp_cons;

	return count > f->req_prod - f->rsp_cons ? RING_LIES : count;
}

uint32_t
ring_last_responses(struct ring_front *f)
{
	uint32_t count = ring_responses(f);

	if (count)
		return count;
	ring_store(&f->shared->rsp_event, f->rsp_cons + 1);
	ring_fence();
	return ring_responses(f);
}

uint32_t
ring_requests(const struct ring_back *b)
{
	uint32_t count = ring_load(&b->shared->req_prod) - b->req_cons;

	return count > b->size - (b->req_cons - b->rsp_prod) ? RING_LIES : count;
}

uint32_t
ring_last_requests(struct ring_back *b)
{
	uint32_t count = ring_requests(b);

	if (count)
		return count;
	ring_store(&b->shared->req_event, b->req_cons + 1);
	ring_fence();
	return ring_requests(b);
}

/*
 * A ring of requests and responses between two domains (xen/include/public/io/ring.h): who writes
 * which index, when the other end must be rung, and when an end may sleep. Entries are somebody
 * else's affair: they are written before a push, and read behind what says that they are there.
 *
 * The other end writes the four words of the page as it likes, at any time: each call loads a word
 * once, and what its count can't be is RING_LIES. All words go through ring_load(), ring_store()
 * and ring_fence(), so that a test can put the other end between any two of them. Pure.
 */
#pragma once

#include <stdbool.h>

#include <inc/xen_block.h>

#define RING_LIES UINT32_MAX /* more than can be there: the other end is not to be served */

/* What is read or written behind a load is so in this order; and in front of a store. */
uint32_t ring_load(const volatile uint32_t *word);
void ring_store(volatile uint32_t *word, uint32_t value);
/* Stores before it are seen before anything is loaded behind it. */
void ring_fence(void);

/* Of a size that is a power of two. The indices are an end's own, and nobody else changes them. */
struct ring_front {
	volatile struct xen_ring *shared;
	uint32_t size;
	uint32_t req_prod; /* requests that are written; others see them behind a push */
	uint32_t rsp_cons; /* responses that are read */
};
struct ring_back {
	volatile struct xen_ring *shared;
	uint32_t size;
	uint32_t req_cons;
	uint32_t rsp_prod;
};

/* The front end's: of a page that nobody else looks at yet. */
static inline void
ring_begin(struct ring_front *f, volatile struct xen_ring *shared, uint32_t size)
{
	*f = (struct ring_front){ .shared = shared, .size = size };
	ring_store(&shared->req_prod, 0);
	ring_store(&shared->rsp_prod, 0);
	ring_store(&shared->req_event, 1);
	ring_store(&shared->rsp_event, 1);
}

/* How many requests have room; those that are answered, and whose answer is not read, have it. */
uint32_t ring_room(const struct ring_front *f);

/* The requests up to req_prod are there, or the responses: whether the other end must be rung. */
bool ring_push_requests(struct ring_front *f);
bool ring_push_responses(struct ring_back *b);

/* Responses that are there from rsp_cons on; RING_LIES. */
uint32_t ring_responses(const struct ring_front *f);
/* ... and with 0 the front end is rung for the next one: it may sleep. */
uint32_t ring_last_responses(struct ring_front *f);

/*
 * Requests that are there from req_cons on; RING_LIES: with those that wait for an answer too many.
 */
uint32_t ring_requests(const struct ring_back *b);
uint32_t ring_last_requests(struct ring_back *b);

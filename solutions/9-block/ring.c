/*
 * The ring's indices (exercise 9.2), for both ends. Xen's own macros (io/ring.h) are poisoned here
 * (guest/pv/drivers/poison.h): they are what the grader compares with.
 */
#include <guest/pv/drivers/exercise.h>
#include <guest/pv/drivers/ring.h>

/* EXERCISE 9.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 9.0 */

uint32_t
ring_room(const struct ring_front *f)
{
	return f->size - (f->req_prod - f->rsp_cons);
}

/* `prod` becomes `now`, which is an end's own index; the other one's wish is in `event`. */
static bool
push(volatile uint32_t *prod, const volatile uint32_t *event, uint32_t now)
{
	/*
	 * EXERCISE 9.2a: to push, and to ring
	 * Holds: the other end sees what was written up to `now`. True if that goes past the place
	 *  where it wants to be rung, and it was not past it before.
	 * Beware: it runs on a CPU of its own, sees your stores some time later, and has perhaps
	 *  just looked for the last time. Indices count on through 0. Each word is read once.
	 * Manual: ring.h "RING_PUSH_REQUESTS_AND_CHECK_NOTIFY", of Debian's libxen-dev; SDM volume
	 *  3, "Memory Ordering".
	 * Tools: ring_fence(), ring_load(), ring_room(), ring_store()
	 * Hint: your store waits in the CPU. What do you read meanwhile, and from when is it?
	 * Hint: a circle with three marks: where you were, where you are, and the bell. Is the bell
	 *  on the arc that you have walked?
	 * Hint: a timer is due between two looks at a clock that wraps: due - then < now - then.
	 * until then: (void)prod; (void)event; (void)now; return false;
	 */
	uint32_t before = ring_load(prod);

	ring_store(prod, now);
	ring_fence();
	return now - ring_load(event) < now - before;
	/* END EXERCISE 9.2a */
}

bool
ring_push_requests(struct ring_front *f)
{
	return push(&f->shared->req_prod, &f->shared->req_event, f->req_prod);
}

bool
ring_push_responses(struct ring_back *b)
{
	return push(&b->shared->rsp_prod, &b->shared->rsp_event, b->rsp_prod);
}

uint32_t
ring_responses(const struct ring_front *f)
{
	/*
	 * EXERCISE 9.2b: responses that are there
	 * Holds: how many have come since the last one that was read; RING_LIES if there can't be
	 *  so many.
	 * Beware: the other end writes what it likes, and something else the next moment. A ring
	 *  with room for 32 is no reason to believe in 32.
	 * Manual: ring.h "RING_HAS_UNCONSUMED_RESPONSES", of Debian's libxen-dev; ring.h of
	 *  guest/pv/drivers.
	 * Tools: RING_LIES, ring_load(), ring_room()
	 * Hint: how many answers can there be to three questions?
	 * Hint: four indices on one circle, in an order that never changes: which are yours?
	 * Hint: a waiter who brings five plates to a table that ordered three has not miscounted
	 *  the kitchen's plates, but the orders.
	 * until then: (void)f; return 0;
	 */
	uint32_t count = ring_load(&f->shared->rsp_prod) - f->rsp_cons;

	return count > f->req_prod - f->rsp_cons ? RING_LIES : count;
	/* END EXERCISE 9.2b */
}

uint32_t
ring_last_responses(struct ring_front *f)
{
	/*
	 * EXERCISE 9.2c: before a front end sleeps
	 * Holds: as above; and behind a 0 the next response that is pushed rings.
	 * Beware: a response may be pushed between any two of your steps, or of your CPU's. Who
	 *  sleeps then is woken by nobody. Who asks to be rung while there is work is rung for
	 *  nothing.
	 * Manual: ring.h "RING_FINAL_CHECK_FOR_RESPONSES", of Debian's libxen-dev.
	 * Tools: ring_fence(), ring_responses(), ring_room(), ring_store()
	 * Hint: when you have said that you want to be rung, what has come before that?
	 * Hint: you set the alarm and lie down. The post came while you set it.
	 * Hint: pthread_cond_wait() takes a mutex for the same reason: between the test and the
	 *  sleep the condition may become true. Here is no mutex, but one may test twice.
	 * until then: (void)f; return 0;
	 */
	uint32_t count = ring_responses(f);

	if (count)
		return count;
	ring_store(&f->shared->rsp_event, f->rsp_cons + 1);
	ring_fence();
	return ring_responses(f);
	/* END EXERCISE 9.2c */
}

uint32_t
ring_requests(const struct ring_back *b)
{
	/*
	 * EXERCISE 9.2d: requests that are there
	 * Holds: how many have come since the last one that was taken; RING_LIES if there can't be
	 *  so many.
	 * Beware: those that were taken and are not answered yet have their places still: an answer
	 *  lies where its request, or an older one, was. The front end writes what it likes.
	 * Manual: ring.h "RING_REQUEST_PROD_OVERFLOW", of Debian's libxen-dev; struct ring_back.
	 * Tools: RING_LIES, ring_load(), ring_room()
	 * Hint: how many places has the ring, and who has them now?
	 * Hint: ten chairs, four guests who eat, three who have eaten and not got up: how many may
	 *  still sit down?
	 * Hint: a pipe whose reader has taken bytes, and not said so: the writer's room is less.
	 * until then: (void)b; return 0;
	 */
	uint32_t count = ring_load(&b->shared->req_prod) - b->req_cons;

	return count > b->size - (b->req_cons - b->rsp_prod) ? RING_LIES : count;
	/* END EXERCISE 9.2d */
}

uint32_t
ring_last_requests(struct ring_back *b)
{
	/*
	 * EXERCISE 9.2e: before a back end sleeps
	 * Holds: as above; and behind a 0 the next request that is pushed rings.
	 * Beware: as before, from the other side. What is pushed in one go rings once, or not at
	 *  all, if you are awake.
	 * Manual: ring.h "RING_FINAL_CHECK_FOR_REQUESTS", of Debian's libxen-dev; SDM volume 3,
	 *  "Memory Ordering".
	 * Tools: ring_fence(), ring_requests(), ring_room(), ring_store()
	 * Hint: of which index do you speak: of the last that you had, or of the next?
	 * Hint: play it with two cups for the stores that nobody has seen yet.
	 * Hint: Dekker's two doors: each raises his flag, and then looks at the other's. On x86
	 *  both may look too early.
	 * until then: (void)b; return 0;
	 */
	uint32_t count = ring_requests(b);

	if (count)
		return count;
	ring_store(&b->shared->req_event, b->req_cons + 1);
	ring_fence();
	return ring_requests(b);
	/* END EXERCISE 9.2e */
}

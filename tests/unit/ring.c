/* BUILD: solutions/9-block/ring.c -D__XEN_INTERFACE_VERSION__=0x00040d00 */
/*
 * A ring (guest/pv/drivers/ring.h) between two ends that each may stop between any two of their
 * steps, on CPUs whose stores wait in a buffer: all orders are played. Each end does what there is,
 * and sleeps when there is nothing; an order in which both sleep, and not all is done, has lost a
 * wake-up, and is printed. And beside Xen's own macros (io/ring.h): the same from all counts.
 *
 * An end is a function that is begun again for each of its steps, with what it has loaded up to
 * then: so a state is a few words, which can be copied, and known again.
 */
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <xen/xen.h>
#define xen_mb()  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_wmb() xen_mb()
#include <xen/io/ring.h>

#include <guest/pv/drivers/ring.h>

#include "draw.h"
#include "tap.h"

/* ---- a state ---- */

#define SLOTS  4u
#define WORDS  (4 + SLOTS)
#define STEPS  160u
#define BUFFER 16u

enum op { LOAD, STORE, FENCE, RING, SLEEP, END, WRONG };
struct step {
	enum op op;
	uint32_t word, value;
};
struct one {
	uint64_t steps, past; /* its steps, and in one number what they have loaded */
	uint32_t word[BUFFER], value[BUFFER]; /* stores that nobody else sees yet, oldest first */
	uint32_t waiting, rung;
	uint32_t loaded[STEPS]; /* by each step */
};
struct state {
	uint32_t word[WORDS];
	struct one end[2];
};

static struct xen_ring shared; /* its addresses name the words */
static uint32_t slot_names[SLOTS];
static bool exploring, no_fences, no_second_look;

/* ---- an end's step ---- */

static struct one *now;
static unsigned at;
static struct step next;
static jmp_buf out;

static uint32_t
step(enum op op, uint32_t word, uint32_t value)
{
	if (at < now->steps)
		return now->loaded[at++];
	next = (struct step){ op, word, value };
	longjmp(out, 1);
}

static uint32_t
name_of(const volatile uint32_t *word)
{
	return word == &shared.req_prod    ? 0
	       : word == &shared.req_event ? 1
	       : word == &shared.rsp_prod  ? 2
	       : word == &shared.rsp_event ? 3
					   : 4 + (uint32_t)(word - slot_names);
}

uint32_t
ring_load(const volatile uint32_t *word)
{
	return exploring ? step(LOAD, name_of(word), 0) : *word;
}

void
ring_store(volatile uint32_t *word, uint32_t value)
{
	if (exploring)
		step(STORE, name_of(word), value);
	else
		*word = value;
}

void
ring_fence(void)
{
	if (exploring && !no_fences)
		step(FENCE, 0, 0);
}

/* ---- the two ends ---- */

static uint32_t size, base, messages;
static bool each_alone; /* every message is pushed by itself */

static void
expect(bool good, uint32_t what)
{
	if (!good)
		step(WRONG, 0, what);
}

static void
ask(struct ring_front *f, uint32_t *asked)
{
	bool any = false;

	while (*asked < messages && ring_room(f)) {
		ring_store(&slot_names[f->req_prod++ % size], 100 + (*asked)++);
		any = true;
		if (each_alone && ring_push_requests(f))
			step(RING, 1, 0);
	}
	if (any && !each_alone && ring_push_requests(f))
		step(RING, 1, 0);
}

static void
front(void)
{
	struct ring_front f = { &shared, size, base, base };
	uint32_t asked = 0, answered = 0;

	while (answered < messages) {
		uint32_t count;

		ask(&f, &asked);
		count = no_second_look ? ring_responses(&f) : ring_last_responses(&f);
		expect(count != RING_LIES, 1);
		if (!count)
			step(SLEEP, 0, 0);
		for (; count; count--)
			expect(ring_load(&slot_names[f.rsp_cons++ % size]) == 200 + answered++, 2);
	}
	step(END, 0, 0);
}

static void
back(void)
{
	struct ring_back b = { &shared, size, base, base };
	uint32_t served = 0;

	while (served < messages) {
		uint32_t count = ring_last_requests(&b);

		expect(count != RING_LIES, 3);
		if (!count)
			step(SLEEP, 0, 0);
		for (; count; count--) {
			expect(ring_load(&slot_names[b.req_cons++ % size]) == 100 + served, 4);
			ring_store(&slot_names[b.rsp_prod++ % size], 200 + served++);
			if ((each_alone || count == 1) && ring_push_responses(&b))
				step(RING, 0, 0);
		}
	}
	step(END, 0, 0);
}

/* What this end does next. */
static struct step
next_of(struct state *s, unsigned n)
{
	now = &s->end[n];
	at = 0;
	if (!setjmp(out))
		(n ? back : front)();
	return next;
}

/* ---- all orders ---- */

static uint64_t *known;
static size_t room, states;

/* Of words, none of which is anything but zero where it is not in use. */
static uint64_t
mixed(uint64_t h, const void *words, size_t len)
{
	for (size_t n = 0; n < len / 4; n++) {
		h = (h ^ ((const uint32_t *)words)[n]) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	return h;
}

static uint64_t
hash_of(const struct state *s)
{
	uint64_t h = 0xcbf29ce484222325u;

	h = mixed(h, s->word, sizeof(s->word));
	for (unsigned n = 0; n < 2; n++)
		h = mixed(h, &s->end[n], offsetof(struct one, loaded));
	return h ? h : 1;
}

static bool
is_new(uint64_t h)
{
	size_t k = h & (room - 1);

	for (; known[k]; k = (k + 1) & (room - 1))
		if (known[k] == h)
			return false;
	known[k] = h;
	if (++states > room / 2) {
		diag("more states than there is room");
		abort();
	}
	return true;
}

static char orders[8000]; /* how a bad state is come to */

static void
note(unsigned n, const struct step *s)
{
	static const char *const names[] = { "loads",  "stores", "fence", "rings",
					     "sleeps", "ends",   "WRONG" };
	static const char *const words[] = { "req_prod", "req_event", "rsp_prod", "rsp_event",
					     "slot 0",   "slot 1",    "slot 2",   "slot 3" };
	static char behind[sizeof(orders)];

	memcpy(behind, orders, sizeof(orders));
	snprintf(orders, sizeof(orders), "%s %s%s%s%s%.7000s", n ? "back" : "front",
		 s ? names[s->op] : "is seen to have stored", s && s->op < FENCE ? " " : "",
		 s && s->op < FENCE ? words[s->word] : "", *behind ? "; " : "", behind);
}

static void
flush(struct state *s, struct one *e)
{
	s->word[e->word[0]] = e->value[0];
	e->waiting--;
	memmove(e->word, e->word + 1, e->waiting * sizeof(e->word[0]));
	memmove(e->value, e->value + 1, e->waiting * sizeof(e->value[0]));
	e->word[e->waiting] = e->value[e->waiting] = 0;
}

/* False: it can't, for now. */
static bool
does(struct state *s, unsigned n, struct step what)
{
	struct one *e = &s->end[n];
	uint32_t value = 0;

	switch (what.op) {
	case LOAD: /* its own stores it sees at once */
		value = s->word[what.word];
		for (unsigned k = 0; k < e->waiting; k++)
			value = e->word[k] == what.word ? e->value[k] : value;
		break;
	case STORE:
		if (e->waiting == BUFFER)
			return false;
		e->word[e->waiting] = what.word;
		e->value[e->waiting++] = what.value;
		break;
	case FENCE:
		if (e->waiting)
			return false;
		break;
	case RING:
		if (e->waiting)
			return false;
		s->end[what.word].rung = true;
		break;
	case SLEEP:
		if (!e->rung)
			return false;
		e->rung = false;
		break;
	default:
		return false;
	}
	e->loaded[e->steps++] = value;
	e->past = mixed(e->past, &value, sizeof(value));
	return true;
}

/* What the other end can't see the effect of, nor the time: no order of it is another one. */
static bool
is_alone(const struct one *e, struct step what)
{
	return (what.op == STORE && e->waiting < BUFFER) || (what.op == FENCE && !e->waiting);
}

static bool explore(const struct state *s);

static bool
goes_on(const struct state *s, unsigned n, const struct step *what)
{
	bool good = explore(s);

	if (!good)
		note(n, what);
	return good;
}

/* Whether all is done in the end, whatever comes when. */
static bool
explore(const struct state *s)
{
	struct state then;
	bool stuck = true, over = true;

	for (unsigned n = 0; n < 2; n++) {
		struct step what;

		then = *s;
		what = next_of(&then, n);
		if (is_alone(&s->end[n], what)) {
			does(&then, n, what);
			return goes_on(&then, n, &what);
		}
	}
	if (!is_new(hash_of(s)))
		return true;
	for (unsigned n = 0; n < 2; n++) {
		struct step what;

		then = *s;
		what = next_of(&then, n);
		if (what.op == WRONG || then.end[n].steps == STEPS) {
			note(n, &what);
			return false;
		}
		over &= what.op == END && !s->end[n].waiting;
		if (does(&then, n, what)) {
			stuck = false;
			if (!goes_on(&then, n, &what))
				return false;
		}
		if (s->end[n].waiting) {
			then = *s;
			flush(&then, &then.end[n]);
			stuck = false;
			if (!goes_on(&then, n, NULL))
				return false;
		}
	}
	return !stuck || over;
}

static bool
all_orders(uint32_t entries, uint32_t count, bool alone)
{
	struct state begin;
	bool good;

	size = entries;
	messages = count;
	each_alone = alone;
	base = UINT32_MAX; /* the indices go through 0 */
	memset(&begin, 0, sizeof(begin));
	begin.word[0] = begin.word[2] = base;
	begin.word[1] = begin.word[3] = base + 1;
	memset(known, 0, room * sizeof(known[0]));
	states = 0;
	*orders = 0;
	exploring = true;
	good = explore(&begin);
	exploring = false;
	return good;
}

static void
explored(void)
{
	room = 1u << 20;
	known = calloc(room, sizeof(known[0]));
	for (unsigned alone = 0; alone < 2; alone++)
		for (uint32_t entries = 2; entries <= SLOTS; entries *= 2) {
			uint32_t count = alone ? 3 : entries + 1; /* more take minutes */
			bool good = all_orders(entries, count, alone);

			ok(good, "%u entries, %u requests%s: all is answered in each of %zu states",
			   entries, count, alone ? ", each pushed alone" : "", states);
			if (!good)
				diag("%s", orders);
		}
	no_fences = true;
	ok(!all_orders(2, 3, true) && *orders, "without fences a wake-up is lost");
	diag("%s", orders);
	no_fences = false;
	no_second_look = true;
	ok(!all_orders(2, 3, true) && *orders, "... and where an end sleeps without a second look");
	no_second_look = false;
	free(known);
}

/* ---- Xen's macros ---- */

typedef struct {
	uint8_t bytes[112];
} message;
DEFINE_RING_TYPES(their, message, message);

/* An index of the other end's: at most so far behind that one, or now and then any. */
static uint32_t
near(uint32_t from, uint32_t most)
{
	return draw(16) ? from + (uint32_t)draw(most + 1) : (uint32_t)drawn();
}

/* One draw of all indices; how many of the answers differ. */
static unsigned
differs(void)
{
	static struct their_sring theirs;
	uint32_t start = (uint32_t)drawn(), cons = start + (uint32_t)draw(33),
		 prod = start + (uint32_t)draw(33);
	their_front_ring_t their_front = { prod, start, 32, &theirs };
	their_back_ring_t their_back = { start, cons, 32, &theirs };
	struct ring_front front = { &shared, 32, prod, start };
	struct ring_back back = { &shared, 32, cons, start };
	unsigned bad = 0;
	int rings, work;

	theirs.req_prod = shared.req_prod = near(cons, 33);
	theirs.rsp_prod = shared.rsp_prod = near(start, 33);
	theirs.req_event = shared.req_event = near(cons, 33);
	theirs.rsp_event = shared.rsp_event = near(start, 33);
	if (theirs.req_prod - cons > 32 - (cons - start)) {
		bad += ring_last_requests(&back) != RING_LIES;
	} else {
		bad += ring_requests(&back) != XEN_RING_NR_UNCONSUMED_REQUESTS(&their_back);
		RING_FINAL_CHECK_FOR_REQUESTS(&their_back, work);
		bad += !!work != !!ring_last_requests(&back);
	}
	RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&their_back, rings);
	bad += rings != ring_push_responses(&back);
	RING_FINAL_CHECK_FOR_RESPONSES(&their_front, work);
	bad += !!work != !!ring_last_responses(&front);
	bad += (ring_responses(&front) == RING_LIES) != (theirs.rsp_prod - start > prod - start);
	RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&their_front, rings);
	bad += rings != ring_push_requests(&front);
	bad += RING_FREE_REQUESTS(&their_front) != ring_room(&front);
	return bad + (memcmp(&theirs, &shared, 16) != 0);
}

static void
beside_xens(void)
{
	unsigned bad = 0;

	for (unsigned n = 0; n < 200000; n++)
		bad += differs();
	is_u64(bad, 0, "Xen's macros do the same");
}

int
main(void)
{
	explored();
	beside_xens();
	return done_testing();
}

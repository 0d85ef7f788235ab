/*
 * The store's memory: an arena for each domain that asks, so that none takes another's, whatever it
 * does. In each are pieces whose sizes are powers of two, and a list of the free ones of each: any
 * piece is found and given back at once; what it costs is half of it, at worst.
 */
#include <guest/dom0/dom0.h>

#define CLASSES 11u
#define OURS    (1ul << 20)
#define THEIRS  (384ul << 10) /* STORE_NODES small ones, and as much again */

static struct arena {
	size_t used, end; /* of the heap */
	union piece *free_ones[CLASSES];
} arenas[STORE_DOMAINS];
static uint8_t heap[OURS + (STORE_DOMAINS - 1) * THEIRS] __attribute__((aligned(4096)));
static uint16_t payer;

/* In front of each piece lies of which class it is, and whose. */
union piece {
	union piece *next;
	struct {
		uint32_t class, arena;
	} of;
	uint8_t room[16];
};

static struct arena *
arena_of(uint16_t domid)
{
	struct arena *a = &arenas[domid];

	if (!a->end) {
		a->used = domid ? OURS + (domid - 1) * THEIRS : 0;
		a->end = a->used + (domid ? THEIRS : OURS);
	}
	return a;
}

uint16_t
store_pays(uint16_t domid)
{
	uint16_t before = payer;

	payer = domid < STORE_DOMAINS ? domid : 0;
	return before;
}

/* Where no new one fits any more, a larger one that is free will do. */
static union piece *
free_one(struct arena *a, unsigned class)
{
	union piece *p;

	while (class < CLASSES && !a->free_ones[class])
		class ++;
	if (class == CLASSES)
		return NULL;
	p = a->free_ones[class];
	a->free_ones[class] = p->next;
	return p;
}

void *
store_alloc(size_t size)
{
	struct arena *a = arena_of(payer);
	unsigned class = 0;
	union piece *p;

	while (class < CLASSES && (16ul << class) < size)
		class ++;
	if (class == CLASSES)
		return NULL;
	if (!a->free_ones[class] && a->end - a->used >= (16ul << class) + sizeof(*p)) {
		p = (union piece *)(heap + a->used) + 1;
		a->used += (16ul << class) + sizeof(*p);
		(p - 1)->of.class = class;
		(p - 1)->of.arena = payer;
		return p;
	}
	return free_one(a, class);
}

void
store_free(void *piece)
{
	union piece *p = piece, **list;

	if (!p)
		return;
	list = &arenas[(p - 1)->of.arena].free_ones[(p - 1)->of.class];
	p->next = *list;
	*list = p;
}

size_t
alloc_left(uint16_t domid)
{
	return arena_of(domid)->end - arena_of(domid)->used;
}

/*
 * Memory: pieces whose sizes are powers of two, and a list of the free ones of each. So any piece
 * is found and given back at once, whoever drives the store; what it costs is half of it, at worst.
 */
#include <guest/dom0/dom0.h>

#define CLASSES 11u
#define HEAP    (6ul << 20)

static uint8_t heap[HEAP] __attribute__((aligned(4096)));
static size_t used;
static union piece {
	union piece *next;
	uint64_t class;
} * free_ones[CLASSES];

/* In front of each piece lies of which class it is. */
void *
store_alloc(size_t size)
{
	unsigned class = 0;
	union piece *p;

	while (class < CLASSES && (16ul << class) < size)
		class ++;
	if (class == CLASSES)
		return NULL;
	p = free_ones[class];
	if (p) {
		free_ones[class] = p->next;
	} else if (HEAP - used >= (16ul << class) + 16) {
		p = (union piece *)(heap + used + 16);
		used += (16ul << class) + 16;
	} else {
		return NULL;
	}
	(p - 1)->class = class;
	return p;
}

void
store_free(void *piece)
{
	union piece *p = piece;
	uint64_t class = p ? (p - 1)->class : 0;

	if (!p)
		return;
	p->next = free_ones[class];
	free_ones[class] = p;
}

size_t
alloc_left(void)
{
	return HEAP - used;
}

/*
 * The store's memory: an arena for each domain that asks, so that none takes another's, whatever it
 * does. In each are blocks whose sizes are powers of two (buddies, as in Knuth, TAOCP 1 2.5): one
 * is cut in halves until a piece fits, and two free halves are one again at once. So what a domain
 * has cut to bits is whole for the next one that has its number.
 */
#include <guest/dom0/dom0.h>

#define CLASSES  11u
#define SMALLEST 32u
#define LARGEST  ((size_t)SMALLEST << (CLASSES - 1))
#define OURS     (1ul << 20)
#define THEIRS   (384ul << 10) /* STORE_NODES small ones, and as much again */
_Static_assert(OURS % LARGEST == 0 && THEIRS % LARGEST == 0, "a block lies by its size");

/*
 * In front of each block lies which it is; a free one has its neighbours in the list behind that.
 */
struct block {
	uint16_t arena, class;
	bool is_free;
	uint8_t room[11];
	struct block *next, *before;
};
#define HEAD offsetof(struct block, next)
_Static_assert(HEAD == 16 && sizeof(struct block) == SMALLEST, "what is given is aligned");

static struct arena {
	bool begun;
	size_t left;
	struct block *free_ones[CLASSES];
} arenas[STORE_DOMAINS];
static struct block heap[(OURS + (STORE_DOMAINS - 1) * THEIRS) / SMALLEST]
	__attribute__((aligned(4096)));
static uint16_t payer;

static size_t
size_of(unsigned class)
{
	return (size_t)SMALLEST << class;
}

static void
put(struct block *b, uint16_t arena, unsigned class)
{
	struct block **list = &arenas[arena].free_ones[class];

	*b = (struct block){ .arena = arena, .class = (uint16_t) class, .is_free = true };
	b->next = *list;
	if (b->next)
		b->next->before = b;
	*list = b;
}

static void
take(struct block *b)
{
	*(b->before ? &b->before->next : &arenas[b->arena].free_ones[b->class]) = b->next;
	if (b->next)
		b->next->before = b->before;
	b->is_free = false;
}

static struct arena *
arena_of(uint16_t domid)
{
	size_t at = domid ? OURS + (domid - 1) * THEIRS : 0;
	struct arena *a = &arenas[domid];

	if (a->begun)
		return a;
	a->begun = true;
	a->left = domid ? THEIRS : OURS;
	for (size_t n = 0; n < a->left; n += LARGEST)
		put(&heap[(at + n) / SMALLEST], domid, CLASSES - 1);
	return a;
}

uint16_t
store_pays(uint16_t domid)
{
	uint16_t before = payer;

	payer = domid < STORE_DOMAINS ? domid : 0;
	return before;
}

void *
store_alloc(size_t size)
{
	struct arena *a = arena_of(payer);
	unsigned class = 0, from;
	struct block *b;

	while (class < CLASSES && size_of(class) - HEAD < size)
		class ++;
	for (from = class; from < CLASSES && !a->free_ones[from];)
		from++;
	if (from >= CLASSES)
		return NULL;
	b = a->free_ones[from];
	take(b);
	while (from-- > class) /* its second half is a free one of its own */
		put(b + (1u << from), payer, from);
	b->class = (uint16_t) class;
	a->left -= size_of(class);
	return &b->next;
}

/* The other half of what this one is a half of. */
static struct block *
buddy_of(const struct block *b)
{
	return &heap[(size_t)(b - heap) ^ 1u << b->class];
}

void
store_free(void *piece)
{
	struct block *b, *other;
	unsigned class;

	if (!piece)
		return;
	b = &heap[(size_t)((uint8_t *)piece - (uint8_t *)heap) / SMALLEST];
	arenas[b->arena].left += size_of(b->class);
	for (class = b->class; class < CLASSES - 1; class ++) {
		b->class = (uint16_t) class;
		other = buddy_of(b);
		if (!other->is_free || other->class != class)
			break;
		take(other);
		b = other < b ? other : b;
	}
	put(b, b->arena, class);
}

size_t
alloc_left(uint16_t domid)
{
	return arena_of(domid)->left;
}

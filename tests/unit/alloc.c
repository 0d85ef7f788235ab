/* BUILD: guest/dom0/alloc.c */
/*
 * dom0's memory for the store: no two pieces share a byte, no arena takes another's, and what has
 * been cut to bits is whole when all of it has been given back.
 */
#include <string.h>

#include <guest/dom0/dom0.h>
#include <guest/dom0/tree.h>

#include "draw.h"
#include "tap.h"

#define MOST 16384u

static uint8_t *piece[MOST];
static size_t size[MOST];
static unsigned count;

/* As many as there are, of so many bytes each. */
static void
fill(size_t bytes)
{
	while (count < MOST && (piece[count] = store_alloc(bytes)))
		memset(piece[count++], 0x5a, bytes);
}

static void
give_back(void)
{
	while (count)
		store_free(piece[--count]);
}

static void
whole_again(void)
{
	static const size_t sizes[] = { 1, 17, 100, 200, 1000, 4096 };
	size_t all = alloc_left(3), other = alloc_left(4);
	unsigned most;
	bool good = true;

	store_pays(3);
	fill(16000);
	most = count;
	give_back();
	ok(most > 10, "large ones");
	for (unsigned n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
		fill(sizes[n]);
		good &= count > most && !store_alloc(16000);
		give_back();
		fill(16000);
		good &= count == most;
		give_back();
	}
	ok(good, "as many large ones behind small ones");
	ok(alloc_left(3) == all && alloc_left(4) == other, "nothing is lost, nor another one's");
}

/* Each has a byte of its own all over, which nobody else writes. */
static bool
has_its_own(unsigned n)
{
	for (size_t k = 0; k < size[n]; k++)
		if (piece[n][k] != (uint8_t)n)
			return false;
	return true;
}

static void
any(void)
{
	size_t all[STORE_DOMAINS];
	unsigned bad = 0;

	for (uint16_t n = 0; n < STORE_DOMAINS; n++)
		all[n] = alloc_left(n);
	for (unsigned round = 0; round < 200000; round++) {
		unsigned n = (unsigned)draw(500);

		if (piece[n]) {
			bad += !has_its_own(n);
			store_free(piece[n]);
			piece[n] = NULL;
			continue;
		}
		store_pays((uint16_t)draw(5));
		size[n] = draw(8) ? draw(300) : draw(20000);
		piece[n] = store_alloc(size[n]);
		bad += (uint64_t)piece[n] % 16 != 0;
		if (piece[n])
			memset(piece[n], (int)n, size[n]);
	}
	ok(!bad, "each has its own");
	for (unsigned n = 0; n < 500; n++)
		store_free(piece[n]);
	for (uint16_t n = 0; n < STORE_DOMAINS; n++)
		bad += all[n] != alloc_left(n);
	ok(!bad, "and all is there again");
}

int
main(void)
{
	whole_again();
	memset(piece, 0, sizeof(piece));
	any();
	store_pays(1);
	ok(!store_alloc(1ul << 20) && !store_alloc(~0ul), "what is too large is none");
	return done_testing();
}

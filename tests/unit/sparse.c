/* BUILD: guest/dom0/sparse.c guest/pv/drivers/crc.c */
/*
 * Sparse files: bytes as somebody writes and discards them, beside a file that is all there; how
 * much memory they have then, which may be short; and how long it takes to discard what is nowhere.
 */
#include <string.h>

#include <guest/dom0/dom0.h>
#include <guest/dom0/pages.h>
#include <guest/dom0/sparse.h>

#include "draw.h"
#include "tap.h"

#define PAGE    4096u
#define STRETCH (512 * PAGE)
#define SIZE    (3 * STRETCH + 5 * PAGE + 512)

/* ---- what dom0 has around it ---- */

static size_t taken, most = ~0ul; /* pages */

void *
page_take(void)
{
	if (taken == most)
		return NULL;
	taken++;
	return calloc(1, PAGE);
}

void
page_give(void *page)
{
	taken--;
	free(page);
}

bool
file_find(const char *name, struct file *f)
{
	return false;
}

bool
sparse_is_used(const struct sparse *s)
{
	return false;
}

/* ---- beside it a file that is all there ---- */

static uint8_t whole[SIZE];
static bool there[SIZE / PAGE + 1];

/* Pages, leaves and the one of these. */
static size_t
wanted(void)
{
	size_t pages = 0, leaves = 0;

	for (size_t leaf = 0; leaf * STRETCH < SIZE; leaf++) {
		size_t before = pages;

		for (size_t n = leaf * 512; n < (leaf + 1) * 512 && n * PAGE < SIZE; n++)
			pages += there[n];
		leaves += pages != before;
	}
	return 1 + leaves + pages;
}

static bool
put(struct sparse *s, uint64_t at)
{
	uint8_t *page = sparse_page(s, at, true);

	if (!page)
		return false;
	page[at % PAGE] = whole[at] = (uint8_t)draw(256);
	there[at / PAGE] = true;
	return true;
}

static void
discard(struct sparse *s, uint64_t at, uint64_t len)
{
	uint64_t end = at + len;

	sparse_discard(s, at, len);
	memset(whole + at, 0, len);
	for (uint64_t n = (at + PAGE - 1) / PAGE; n * PAGE < end; n++)
		if ((n + 1) * PAGE <= end || end == SIZE)
			there[n] = false;
}

static bool
is_same(struct sparse *s)
{
	for (uint64_t at = 0; at < SIZE; at += PAGE)
		if (memcmp(sparse_page(s, at, false), whole + at,
			   SIZE - at < PAGE ? SIZE - at : PAGE))
			return false;
	return true;
}

static void
at_random(void)
{
	unsigned wrong = 0, differ = 0;
	struct sparse *s;

	ok(!sparse_make("a", SIZE), "a file");
	s = sparse_find("a");
	for (unsigned n = 0; n < 4000; n++) {
		uint64_t at = draw(SIZE / 512) * 512, left = SIZE - at;
		uint64_t len = draw(3) ? 512 * (1 + draw(40)) : 512 * (1 + draw(SIZE / 512));

		if (draw(4))
			put(s, draw(2) ? at : draw(4) * STRETCH + draw(4 * PAGE));
		else
			discard(s, at, len < left ? len : left);
		wrong += taken != wanted();
		if (n % 50 == 0)
			differ += !is_same(s);
	}
	ok(!differ && is_same(s), "bytes are as somebody has left them");
	ok(!wrong, "and as much memory as is written: %u times not", wrong);
	discard(s, 0, SIZE);
	ok(taken == 1, "nothing is left behind a discard of all: %zu pages", taken);
	ok(!sparse_remove("a") && !taken, "nor behind the file");
}

/* Memory ends at each step of what one byte needs. */
static void
without_memory(void)
{
	struct sparse *s;

	most = 0;
	ok(sparse_make("b", SIZE) && !sparse_find("b"), "no page for a file: none is made");
	most = ~0ul;
	sparse_make("b", SIZE);
	s = sparse_find("b");
	for (most = 1; most < 3; most++)
		ok(!put(s, STRETCH) && taken == 1, "no page for a byte: nothing is taken");
	ok(put(s, STRETCH) && taken == 3, "two are enough");
	ok(!put(s, STRETCH + PAGE) && !put(s, 0) && taken == 3, "... for this one");
	most = ~0ul;
	ok(!sparse_remove("b") && !taken, "all comes back");
}

static void
steps(void)
{
	struct sparse *s;
	uint64_t n;

	sparse_make("c", SPARSE_MAX);
	s = sparse_find("c");
	n = sparse_discard(s, 0, SPARSE_MAX);
	ok(n <= 512, "what is nowhere is discarded in %lu steps", n);
	sparse_page(s, SPARSE_MAX / 2, true);
	n = sparse_discard(s, 0, SPARSE_MAX);
	ok(n <= 1024, "with one page somewhere in %lu", n);
	n = sparse_discard(s, 0, SPARSE_MAX);
	ok(n <= 512 && taken == 1, "and then as at first");
	sparse_remove("c");
}

int
main(void)
{
	at_random();
	without_memory();
	steps();
	return done_testing();
}

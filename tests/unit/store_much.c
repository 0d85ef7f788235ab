/* BUILD: guest/dom0/tree.c guest/dom0/store.c guest/dom0/clients.c guest/dom0/watch.c
 * guest/dom0/transaction.c guest/dom0/store_ring.c guest/dom0/perms.c */
/*
 * dom0's store: those who want too much of it, and what a client looks back at.
 */
#include <string.h>

#include "store_asked.h"

/* ---- too much ---- */

static void
floods(void)
{
	char words[5000], got[5000];
	unsigned made = 0;

	begin();
	ask(0, WRITE, 0, "/local/domain/1|");
	ask(0, SET, 0, "/local/domain/1|b1|");
	hear(0, got);
	hear(0, got);
	for (*got = 'O'; *got == 'O' && made < 5000; made++) {
		snprintf(words, sizeof(words), "number-%u/m|x", made);
		ask(1, WRITE, 0, words);
		hear(1, got);
	}
	ok(!strcmp(got, "ENOSPC|") && made == STORE_NODES / 2, "%u nodes, and no more", made);
	asked(1, START, 0, "|", "#");
	asked(1, WRITE, LAST, "more|x", "OK|");
	asked(1, WRITE, LAST, "too-much|x", "ENOSPC|");
	asked(1, RM, LAST, "number-1|", "OK|");
	asked(1, WRITE, LAST, "too-much|x", "OK|");
	asked(1, END, LAST, "T|", "OK|");
	memset(words, 'v', sizeof(words) - 1);
	memcpy(words, "more|", 5);
	words[5 + STORE_VALUE] = 0;
	asked(1, WRITE, 0, words, "OK|");
	words[5 + STORE_VALUE] = 'v';
	words[6 + STORE_VALUE] = 0;
	asked(1, WRITE, 0, words, "ENOSPC|");
	asked(1, DIR, 0, "/local/domain/1|", "E2BIG|");
	for (made = 0, *got = 'O'; *got == 'O' && made < 5000; made++) {
		snprintf(words, sizeof(words), "n|%u|", made);
		ask(1, WATCH, 0, words);
		hear(1, got);
		if (*got == 'O')
			hear(1, words);
	}
	ok(!strcmp(got, "ENOSPC|") && made == STORE_WATCHES + 1, "%u watches", made - 1);
	for (made = 0, *got = '1'; *got != 'E' && made < 5000; made++) {
		ask(1, START, 0, "|");
		hear(1, got);
	}
	ok(!strcmp(got, "ENOSPC|") && made == STORE_TRANSACTIONS + 1, "%u transactions", made - 1);
	for (made = 0; made < 100 && !clients[1]->broken; made++) {
		snprintf(words, sizeof(words), "/local/domain/1/n/%u|", made);
		ask(0, WRITE, 0, words);
		ask(0, SET, 0, "/local/domain/1/n|b1|");
	}
	ok(clients[1]->broken && clients[1]->events == STORE_EVENTS,
	   "events that nobody reads: %u, and its end", clients[1]->events);
	asked(2, READ, 0, "/local/domain/1/number-3/m|", "x"); /* and nobody else's */
	end("floods");
}

/* As much as it can have, of each kind; or its connection ends. */
static void
hoard(unsigned who)
{
	char words[4000], got[5000];
	uint32_t tx = 0;

	memset(words, 'v', sizeof(words));
	for (unsigned round = 0; round < 1 + STORE_TRANSACTIONS; round++) {
		for (unsigned n = 0; n < 400 && !clients[who]->broken; n++) {
			words[snprintf(words, sizeof(words), "%u", n)] = 'v';
			words[1000 + 1000 * (round & 1)] = '|';
			words[3000] = 0;
			ask(who, round % 3 == 2 ? READ : WRITE, tx, words);
			hear(who, got);
			words[1000 + 1000 * (round & 1)] = 'v';
		}
		ask(who, START, 0, "|");
		tx = (uint32_t)atoi(hear(who, got));
	}
	for (unsigned n = 0; n < STORE_WATCHES; n++) {
		words[snprintf(words, sizeof(words), "%u", n)] = 'v';
		words[1000] = words[1400] = '|';
		words[1401] = 0;
		ask(who, WATCH, 0, words);
	}
}

/* What one has does not shorten what others may have. */
static void
shares(void)
{
	begin();
	for (unsigned n = 1; n < 3; n++) {
		char words[40];

		snprintf(words, sizeof(words), "/local/domain/%u|", n);
		asked(0, WRITE, 0, words, "OK|");
		snprintf(words, sizeof(words), "/local/domain/%u|n%u|", n, n);
		asked(0, SET, 0, words, "OK|");
	}
	asked(2, WRITE, 0, "shared/with/1|x", "OK|");
	asked(2, SET, 0, "shared/with/1|n2|b1|", "OK|");
	asked(1, WRITE, 0, "/local/domain/2/shared/with/1|what it leaves there", "OK|");
	asked(0, WATCH, 0, "/local/domain/1|t|", "OK|");
	hoard(1);
	ok(has[1] > SHARE / 2 && has[0] < 8192 && has[2] < 8192,
	   "one hoards: %zu, dom0 %zu, another one %zu", has[1], has[0], has[2]);
	heard(0, "!/local/domain/1|t|"); /* once, of whatever is new there */
	asked(2, WRITE, 0, "mine|x", "OK|");
	asked(0, START, 0, "|", "#");
	asked(0, WRITE, LAST, "/local/domain/2/mine|y", "OK|");
	store_release(&store, clients[1]);
	is_u64(has[1], 0, "nothing of its share is left to somebody else's nodes");
	ok(has[0] < 8192 && has[1] < 8192, "it ends: %zu, dom0 %zu", has[1], has[0]);
	clients[1] = store_introduce(&store, 1);
	asked(0, READ, LAST, "/local/domain/2/mine|",
	      "x"); /* it is over, and looks at what there is */
	asked(0, WRITE, LAST, "/local/domain/2/mine|y", "OK|");
	asked(0, END, LAST, "T|", "EAGAIN|");
	asked(0, DIR, 0, "/local/domain|", "2|");
	asked(1, READ, 0, "/local/domain/2/mine|", "EACCES|");
	end("shares");
}

/* Sixty values of its own, for the n-th time: what the last one's answer is. */
static const char *
rewrites(unsigned who, unsigned time)
{
	static char got[5000];
	char words[1100];

	memset(words, 'a' + (int)(time % 26), sizeof(words));
	for (unsigned n = 0; n < 60; n++) {
		words[snprintf(words, sizeof(words), "kept/%u|", n)] = 'v';
		words[1000] = 0;
		ask(who, WRITE, 0, words);
		hear(who, got);
	}
	return got;
}

/*
 * A transaction sees what there was when it began, out of the share of whoever had that. That costs
 * nobody his share, however many look back; and no transaction fails by it that could succeed.
 */
static void
looks_back(void)
{
	const char *got = "OK|";
	unsigned times = 0;

	begin();
	for (unsigned n = 1; n < 3; n++) {
		char words[40];

		snprintf(words, sizeof(words), "/local/domain/%u|", n);
		asked(0, WRITE, 0, words, "OK|");
		snprintf(words, sizeof(words), "/local/domain/%u|r%u|", n, n);
		asked(0, SET, 0, words, "OK|");
	}
	asked(2, WRITE, 0, "kept/7|old", "OK|");
	asked(1, WRITE, 0, "gone/a|x", "OK|");
	asked(1, START, 0, "|", "1|");
	asked(1, WRITE, 1, "mine/a|x", "OK|");
	asked(1, RM, 1, "gone|", "OK|");
	asked(1, START, 0, "|", "2|");
	asked(1, READ, 2, "/local/domain/2/kept/7|", "old");
	while (!strcmp(got, "OK|") && times < 3 * STORE_TRANSACTIONS) {
		char answer[5000];

		got = rewrites(2, times++);
		ask(1, START, 0, "|");
		hear(1, answer);
	}
	ok(!strcmp(got, "OK|"), "one writes %u times, and another one looks back at each: %s",
	   times, got);
	ok(!clients[2]->broken && has[0] < 8192, "it is heard: %zu, dom0 %zu", has[2], has[0]);
	asked(1, READ, 1, "mine/a|", "x");
	asked(1, READ, 1, "gone/a|", "ENOENT|");
	asked(1, WRITE, 1, "mine/b|y", "OK|");
	asked(1, END, 2, "T|", "EAGAIN|");
	asked(1, END, 1, "T|", "OK|");
	asked(1, DIR, 0, "mine|", "a|b|");
	asked(1, READ, 0, "gone/a|", "ENOENT|");
	asked(1, END, 3, "T|", "OK|");
	end("looks back");
}

int
main(void)
{
	floods();
	shares();
	looks_back();
	return done_testing();
}

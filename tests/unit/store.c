/* BUILD: guest/dom0/tree.c guest/dom0/store.c guest/dom0/clients.c guest/dom0/watch.c
 * guest/dom0/transaction.c guest/dom0/store_ring.c guest/dom0/perms.c */
/*
 * dom0's store: what each request answers, who may what, who hears of what, and those who want too
 * much. store_fuzz.c has what comes by chance.
 */
#include <string.h>

#include <guest/dom0/store_ring.h>

#include "tap.h"

#define SHARE (256u << 10) /* bytes of each */

static unsigned alive; /* pieces of memory */
static size_t has[STORE_DOMAINS];
static uint16_t payer;

struct piece {
	size_t size;
	uint16_t of;
	_Alignas(16) char bytes[];
};

uint16_t
store_pays(uint16_t domid)
{
	uint16_t before = payer;

	payer = domid;
	return before;
}

void *
store_alloc(size_t size)
{
	struct piece *p = has[payer] + size <= SHARE ? malloc(sizeof(*p) + size) : NULL;

	if (!p)
		return NULL;
	*p = (struct piece){ size, payer };
	has[payer] += size;
	alive++;
	return p->bytes;
}

void
store_free(void *bytes)
{
	struct piece *p;

	if (!bytes)
		return;
	p = (struct piece *)((char *)bytes - offsetof(struct piece, bytes));
	has[p->of] -= p->size;
	alive--;
	free(p);
}

static struct store store;
static struct store_client *clients[3]; /* dom0, and domains 1 and 2 */
static uint32_t transaction;            /* the last one that was begun */

static void
begin(void)
{
	store_init(&store);
	for (uint16_t n = 0; n < 3; n++)
		clients[n] = store_introduce(&store, n);
}

static void
end(const char *what)
{
	store_end(&store);
	is_u64(alive, 0, "%s: all memory is given back", what);
}

/* The first message, NULs as bars; "" for none. An event begins with '!'. */
static const char *
hear(unsigned who, char to[5000])
{
	struct store_message *m = clients[who]->first;
	char *at = to;

	*at = 0;
	if (!m)
		return to;
	if (m->head.type == XEN_XS_WATCH_EVENT)
		*at++ = '!';
	for (uint32_t n = 0; n < m->head.len; n++)
		*at++ = m->bytes[n] ? m->bytes[n] : '|';
	*at = 0;
	store_sent(clients[who]);
	return to;
}

/* Bars are NULs; "@" as transaction: the last one. */
static void
ask(unsigned who, uint32_t type, uint32_t tx, const char *payload)
{
	struct xen_xsd_sockmsg head = { type, 77, tx, (uint32_t)strlen(payload) };
	char *bytes = malloc(head.len + 1); /* exactly: a byte more is seen */

	for (uint32_t n = 0; n < head.len; n++)
		bytes[n] = payload[n] == '|' ? 0 : payload[n];
	bytes = realloc(bytes, head.len ? head.len : 1);
	store_request(&store, clients[who], &head, bytes);
	free(bytes);
}

#define LAST 0xffffffffu

static void
asked(unsigned who, uint32_t type, uint32_t tx, const char *payload, const char *want)
{
	char got[5000];

	ask(who, type, tx == LAST ? transaction : tx, payload);
	hear(who, got);
	if (type == XEN_XS_TRANSACTION_START && *got != 'E')
		transaction = (uint32_t)atoi(got);
	if (!ok(!strcmp(got, want) || (*want == '#' && transaction), "d%u %u %.60s: %.40s", who,
		type, payload, want))
		diag("got %s", got);
}

static void
heard(unsigned who, const char *want)
{
	char got[5000];

	if (!ok(!strcmp(hear(who, got), want), "d%u hears %.60s", who, *want ? want : "nothing"))
		diag("got %s", got);
}

#define DIR   XEN_XS_DIRECTORY
#define READ  XEN_XS_READ
#define WRITE XEN_XS_WRITE
#define MKDIR XEN_XS_MKDIR
#define RM    XEN_XS_RM
#define GET   XEN_XS_GET_PERMS
#define SET   XEN_XS_SET_PERMS
#define WATCH XEN_XS_WATCH
#define START XEN_XS_TRANSACTION_START
#define END   XEN_XS_TRANSACTION_END

static const struct row {
	unsigned who;
	uint32_t type, tx;
	const char *payload, *want;
} rows[] = {
	/* a tree */
	{ 0, DIR, 0, "/|", "" },
	{ 0, READ, 0, "/a|", "ENOENT|" },
	{ 0, WRITE, 0, "/a/b/c|some|thing", "OK|" },
	{ 0, READ, 0, "/a/b/c|", "some|thing" },
	{ 0, READ, 0, "/a/b|", "" },
	{ 0, DIR, 0, "/a|", "b|" },
	{ 0, MKDIR, 0, "/a/b|", "OK|" },
	{ 0, MKDIR, 0, "/a/d|", "OK|" },
	{ 0, DIR, 0, "/a|", "b|d|" },
	{ 0, WRITE, 0, "/a/b/c|", "OK|" },
	{ 0, READ, 0, "/a/b/c|", "" },
	{ 0, RM, 0, "/a/b|", "OK|" },
	{ 0, READ, 0, "/a/b/c|", "ENOENT|" },
	{ 0, RM, 0, "/a/b|", "OK|" },
	{ 0, RM, 0, "/a/b/c|", "ENOENT|" },
	{ 0, DIR, 0, "/a|", "d|" },
	{ 0, RM, 0, "/|", "EINVAL|" },
	/* paths that are none */
	{ 0, READ, 0, "", "EINVAL|" },
	{ 0, READ, 0, "|", "EINVAL|" },
	{ 0, READ, 0, "/a", "EINVAL|" }, /* no NUL */
	{ 0, READ, 0, "//|", "EINVAL|" },
	{ 0, READ, 0, "/a/|", "EINVAL|" },
	{ 0, READ, 0, "/a//d|", "EINVAL|" },
	{ 0, READ, 0, "/a/../a|", "EINVAL|" },
	{ 0, READ, 0, "/a b|", "EINVAL|" },
	{ 0, WRITE, 0, "/a/\x80|x", "EINVAL|" },
	{ 0, WRITE, 0, "@introduceDomain|x", "OK|" }, /* a name of its own place's */
	/* who may what */
	{ 1, READ, 0, "/a|", "" },
	{ 1, WRITE, 0, "/a|x", "EACCES|" },
	{ 1, WRITE, 0, "/x|x", "EACCES|" },
	{ 1, RM, 0, "/a|", "EACCES|" },
	{ 1, WRITE, 0, "mine|x", "EACCES|" },
	{ 0, WRITE, 0, "/local/domain/1|", "OK|" },
	{ 0, WRITE, 0, "/local/domain/2|", "OK|" },
	{ 0, SET, 0, "/local/domain/1|n1|", "OK|" },
	{ 0, SET, 0, "/local/domain/2|n2|", "OK|" },
	{ 1, WRITE, 0, "mine|x", "OK|" },
	{ 1, READ, 0, "/local/domain/1/mine|", "x" },
	{ 1, GET, 0, "mine|", "n1|" },
	{ 2, READ, 0, "/local/domain/1/mine|", "EACCES|" },
	{ 2, READ, 0, "/local/domain/1/other|", "EACCES|" },
	{ 2, GET, 0, "/local/domain/1/mine|", "EACCES|" },
	{ 2, SET, 0, "/local/domain/1/mine|n2|", "EACCES|" },
	{ 1, SET, 0, "mine|n2|", "EPERM|" },
	{ 1, SET, 0, "mine|n1|r2|", "OK|" },
	{ 2, READ, 0, "/local/domain/1/mine|", "x" },
	{ 2, WRITE, 0, "/local/domain/1/mine|y", "EACCES|" },
	{ 1, SET, 0, "mine|n1|b2|", "OK|" },
	{ 2, WRITE, 0, "/local/domain/1/mine/two|y", "OK|" },
	{ 2, GET, 0, "/local/domain/1/mine/two|", "n2|b2|" },
	{ 2, SET, 0, "/local/domain/1/mine|b2|", "EACCES|" },
	{ 1, SET, 0, "mine|", "EINVAL|" },
	{ 1, SET, 0, "mine|q1|", "EINVAL|" },
	{ 1, SET, 0, "mine|n1|r|", "EINVAL|" },
	{ 1, SET, 0, "mine|n99999|", "EINVAL|" },
	{ 1, SET, 0, "mine|n1|r2", "EINVAL|" },
	{ 1, SET, 0, "mine|n1|r2|r3|r4|r5|r6|r7|r8|r9|", "ENOSPC|" },
	{ 1, XEN_XS_INTRODUCE, 0, "3|1|1|", "EACCES|" },
	{ 1, XEN_XS_RELEASE, 0, "2|", "EACCES|" },
	{ 1, XEN_XS_GET_DOMAIN_PATH, 0, "2|", "/local/domain/2|" },
	{ 1, XEN_XS_GET_DOMAIN_PATH, 0, "2x|", "EINVAL|" },
	{ 1, XEN_XS_IS_DOMAIN_INTRODUCED, 0, "2|", "T|" },
	{ 1, XEN_XS_IS_DOMAIN_INTRODUCED, 0, "3|", "F|" },
	{ 1, 0, 0, "|", "ENOSYS|" },
	{ 1, XEN_XS_TYPES, 0, "|", "ENOSYS|" },
	{ 1, 0xffffffff, 0, "|", "ENOSYS|" },
	{ 1, XEN_XS_ERROR, 0, "|", "ENOSYS|" },
	/* transactions */
	{ 1, END, 0, "T|", "ENOENT|" },
	{ 1, READ, 4, "mine|", "ENOENT|" },
	{ 1, START, 0, "|", "#" },
	{ 1, START, LAST, "|", "EBUSY|" },
	{ 2, READ, LAST, "/a|", "ENOENT|" }, /* it is not his */
	{ 1, WRITE, LAST, "mine|new", "OK|" },
	{ 1, WRITE, LAST, "more/deep|new", "OK|" },
	{ 1, READ, 0, "mine|", "x" },
	{ 1, READ, LAST, "mine|", "new" },
	{ 1, END, LAST, "x|", "EINVAL|" },
	{ 1, END, LAST, "T|", "OK|" },
	{ 1, END, LAST, "T|", "ENOENT|" },
	{ 1, READ, 0, "mine|", "new" },
	{ 1, READ, 0, "more/deep|", "new" },
	{ 1, DIR, 0, "mine|", "two|" },
	{ 1, START, 0, "|", "#" },
	{ 1, RM, LAST, "mine|", "OK|" },
	{ 1, READ, LAST, "mine|", "ENOENT|" },
	{ 1, END, LAST, "F|", "OK|" },
	{ 1, READ, 0, "mine|", "new" },
	{ 1, START, 0, "|", "#" },
	{ 1, READ, LAST, "mine|", "new" },
	{ 1, WRITE, LAST, "other|1", "OK|" },
	{ 2, WRITE, 0, "/local/domain/1/mine|now", "OK|" },
	{ 1, END, LAST, "T|", "EAGAIN|" },
	{ 1, READ, 0, "other|", "ENOENT|" },
	{ 1, START, 0, "|", "#" },
	{ 1, WRITE, LAST, "other|1", "OK|" },
	{ 2, WRITE, 0, "/local/domain/1/mine|then", "OK|" }, /* elsewhere */
	{ 1, END, LAST, "T|", "OK|" },
	{ 1, START, 0, "|", "#" },
	{ 1, WRITE, LAST, "more/deep/er|1", "OK|" },
	{ 1, RM, 0, "more|", "OK|" },
	{ 1, END, LAST, "T|", "EAGAIN|" },
	{ 1, READ, 0, "more|", "ENOENT|" },
	{ 1, START, 0, "|", "#" },
	{ 1, RM, LAST, "mine|", "OK|" },
	{ 1, WRITE, LAST, "mine/again|1", "OK|" },
	{ 1, END, LAST, "T|", "OK|" },
	{ 1, DIR, 0, "mine|", "again|" },
};

static void
answers(void)
{
	begin();
	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++)
		asked(rows[n].who, rows[n].type, rows[n].tx, rows[n].payload, rows[n].want);
	end("answers");
}

static void
long_paths(void)
{
	char path[3200] = "", deep[200] = "";

	begin();
	for (unsigned n = 0; n < 3072; n++)
		path[n] = n % 1000 ? 'a' : '/';
	strcpy(path + 3072, "|x");
	asked(0, WRITE, 0, path, "OK|");
	strcpy(path + 3072, "a|x");
	asked(0, WRITE, 0, path, "EINVAL|");
	memmove(path, path + 1, 2048);
	strcpy(path + 2048, "|x");
	path[999] = path[1999] = 'b';
	asked(0, WRITE, 0, path, "OK|");
	strcpy(path + 2048, "b|x");
	asked(0, WRITE, 0, path, "EINVAL|");
	for (unsigned n = 0; n < STORE_DEPTH; n++)
		strcat(deep, "/d");
	strcat(deep, "|");
	asked(0, WRITE, 0, deep, "OK|");
	strcpy(deep + 2 * STORE_DEPTH, "/d|");
	asked(0, WRITE, 0, deep, "EINVAL|");
	end("long paths");
}

/* ---- watches ---- */

static void
watches(void)
{
	begin();
	asked(0, WRITE, 0, "/local/domain/1/dev/0/state|1", "OK|");
	asked(0, SET, 0, "/local/domain/1|n1|", "OK|");
	asked(0, SET, 0, "/local/domain/1/dev|n1|", "OK|");
	asked(0, SET, 0, "/local/domain/1/dev/0|n1|", "OK|");
	asked(0, SET, 0, "/local/domain/1/dev/0/state|n1|", "OK|");
	asked(1, WATCH, 0, "dev|token|", "OK|");
	heard(1, "!dev|token|"); /* at once */
	asked(1, WATCH, 0, "dev|token|", "EEXIST|");
	asked(1, WATCH, 0, "dev|", "EINVAL|");
	asked(1, WATCH, 0, "dev|token", "EINVAL|");
	asked(1, WATCH, 0, "dev|token|more|", "EINVAL|");
	asked(1, WATCH, 0, "@introduceDomain|t|", "EACCES|");
	asked(1, WATCH, 0, "@other|t|", "EINVAL|");
	asked(0, WRITE, 0, "/local/domain/1/dev/0/state|2", "OK|");
	asked(0, WRITE, 0, "/local/domain/1/dev/0/state|3", "OK|");
	asked(0, WRITE, 0, "/local/domain/1/device|3", "OK|"); /* not below it */
	heard(1, "!dev/0/state|token|");
	heard(1, ""); /* one stands for both */
	asked(1, WATCH, 0, "/local/domain/1/dev/0/state|abs|", "OK|");
	heard(1, "!/local/domain/1/dev/0/state|abs|");
	asked(0, RM, 0, "/local/domain/1/dev|", "OK|");
	heard(1, "!/local/domain/1/dev/0/state|abs|"); /* removed with what was above */
	heard(1, "!dev|token|");
	heard(1, "");
	asked(1, XEN_XS_UNWATCH, 0, "dev|tok|", "ENOENT|");
	asked(1, XEN_XS_UNWATCH, 0, "dev|token|", "OK|");
	asked(1, XEN_XS_RESET_WATCHES, 0, "|", "OK|");
	asked(0, WRITE, 0, "/local/domain/1/dev/0/state|1", "OK|");
	heard(1, "");
	asked(2, WATCH, 0, "/local/domain/1|spy|", "OK|");
	heard(2, "!/local/domain/1|spy|"); /* which it has said itself */
	asked(0, WRITE, 0, "/local/domain/1/dev/0/state|2", "OK|");
	asked(1, WRITE, 0, "secret|2", "OK|");
	asked(1, RM, 0, "secret|", "OK|");
	heard(2, "");
	asked(0, WATCH, 0, "@introduceDomain|i|", "OK|");
	heard(0, "!@introduceDomain|i|");
	asked(0, WATCH, 0, "/|all|", "OK|");
	heard(0, "!/|all|");
	asked(1, START, 0, "|", "#");
	asked(1, WRITE, LAST, "tx|1", "OK|");
	heard(0, "");
	asked(1, END, LAST, "T|", "OK|");
	heard(0, "!/|all|"); /* it looks itself */
	heard(0, "");
	end("watches");
}

/* ---- domains end ---- */

static void
releases(void)
{
	begin();
	asked(0, WRITE, 0, "/x/of1/deep|1", "OK|");
	asked(0, SET, 0, "/x/of1|n1|", "OK|");
	asked(0, WRITE, 0, "/x/for1|1", "OK|");
	asked(0, SET, 0, "/x/for1|n0|r2|b1|", "OK|");
	asked(0, WATCH, 0, "@releaseDomain|r|", "OK|");
	heard(0, "!@releaseDomain|r|");
	asked(0, START, 0, "|", "#");
	asked(0, WRITE, LAST, "/x/late|1", "OK|");
	asked(0, SET, LAST, "/x/late|n1|", "OK|");
	ask(1, WATCH, 0, "a|b|");
	ask(1, START, 0, "|");
	store_release(&store, clients[1]);
	heard(0, "!@releaseDomain|r|");
	clients[1] = store_introduce(&store, 1);
	asked(0, END, LAST, "T|", "EAGAIN|"); /* it would name the one that was */
	asked(0, DIR, 0, "/x|", "for1|");     /* what it had is gone, with all below */
	asked(0, GET, 0, "/x/for1|", "n0|r2|");
	asked(1, WRITE, 0, "/x/of1|mine", "EACCES|");
	is_u64(store.tree.owned[1], 0, "the next of its number has nothing of its");
	end("releases");
}

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
	answers();
	long_paths();
	watches();
	releases();
	floods();
	shares();
	looks_back();
	return done_testing();
}

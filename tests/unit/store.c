/* BUILD: guest/dom0/tree.c guest/dom0/store.c guest/dom0/clients.c guest/dom0/watch.c
 * guest/dom0/transaction.c guest/dom0/store_ring.c guest/dom0/perms.c */
/*
 * dom0's store: what each request answers, who may what, and who hears of what. store_much.c has
 * those who want too much, store_fuzz.c what comes by chance.
 */
#include <string.h>

#include "store_asked.h"

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

int
main(void)
{
	answers();
	long_paths();
	watches();
	releases();
	return done_testing();
}

/*
 * The store: requests, and who may.
 */
#include <guest/dom0/store.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

/* ---- paths and rights ---- */

static bool
is_in_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '@';
}

/* It begins with a slash: no name is empty, there are few, each of its letters is one. */
static bool
is_path(const char *path)
{
	unsigned depth = 0;

	if (path[0] != '/' || (path[0] && !path[1]))
		return path[0] == '/';
	for (; *path; path++) {
		if (*path == '/' && (path[1] == '/' || !path[1] || ++depth > STORE_DEPTH))
			return false;
		if (*path != '/' && !is_in_name(*path))
			return false;
	}
	return true;
}

/* One that begins without a slash is meant from the domain's own place on. */
int
store_path(struct store *s, uint16_t domid, const char *given, size_t len)
{
	unsigned at = 0;

	if (!len || len > (given[0] == '/' ? XEN_STORE_ABS_PATH : XEN_STORE_REL_PATH))
		return -EINVAL;
	if (given[0] != '/')
		at = (unsigned)snprintf(s->path, sizeof(s->path), "/local/domain/%u/", domid);
	memcpy(s->path + at, given, len);
	s->path[at + len] = 0;
	return is_path(s->path) ? 0 : -EINVAL;
}

int
store_allowed(const struct store_node *n, uint16_t domid, unsigned may)
{
	const struct store_perms *p = &n->perms;
	unsigned has = p->of[0].may;

	if (domid == 0 || p->of[0].domid == domid)
		return 0;
	for (unsigned k = 1; k < p->count; k++)
		if (p->of[k].domid == domid) {
			has = p->of[k].may;
			break;
		}
	return (has & may) == may ? 0 : -EACCES;
}

/* store->path's first bytes are a path that was looked at. */
static int
look_at(struct store_ask *a, size_t len)
{
	char *path = a->store->path, end = path[len];
	int err;

	path[len] = 0;
	err = store_touch(a, STORE_LOOKED, len ? path : "/");
	path[len] = end;
	return err;
}

/*
 * The node at store->path, for this. Whether one is there that is not is told only to those who may
 * look at the nearest one above: so the answer comes from that one, and from the first that is not
 * there.
 */
int
store_find(struct store_ask *a, unsigned may, const struct store_node **n)
{
	const char *path = a->store->path;
	size_t there, next;
	int err;

	*n = tree_nearest(a->tree, path, &there);
	err = look_at(a, there);
	for (next = there + 1; path[there] && path[next] && path[next] != '/'; next++)
		;
	if (!err && path[there])
		err = look_at(a, next);
	if (!err)
		err = store_allowed(*n, a->client->domid, may);
	return err || !path[there] ? err : -ENOENT;
}

/* The same for a whole payload that is a path; `rest` is behind it. */
int
store_take_path(struct store_ask *a)
{
	size_t len = 0;

	while (len < a->len && a->payload[len])
		len++;
	if (len == a->len)
		return -EINVAL;
	a->rest = a->payload + len + 1;
	a->rest_len = a->len - len - 1;
	return store_path(a->store, a->client->domid, a->payload, len);
}

int
store_look(struct store_ask *a, const struct store_node **n)
{
	int err = store_take_path(a);

	return err ? err : store_find(a, STORE_READ, n);
}

/* ---- reading: how many bytes store->answer has, or an error ---- */

static int
do_read(struct store_ask *a)
{
	const struct store_node *n;
	int err = store_look(a, &n);

	if (err)
		return err;
	if (n->len)
		memcpy(a->store->answer, n->value, n->len);
	return (int)n->len;
}

static int
do_directory(struct store_ask *a)
{
	const struct store_node *n;
	int err = store_look(a, &n);
	size_t at = 0;

	if (!err)
		err = store_touch(a, STORE_LISTED, a->store->path);
	for (uint32_t k = 0; !err && k < n->count; k++) {
		size_t len = strlen(n->child[k]->name) + 1;

		if (len > sizeof(a->store->answer) - at)
			return -E2BIG;
		memcpy(a->store->answer + at, n->child[k]->name, len);
		at += len;
	}
	return err ? err : (int)at;
}

/* ---- writing ---- */

int
store_done(struct store_ask *a)
{
	memcpy(a->store->answer, "OK", 3);
	return 3;
}

/*
 * A change was made to `changed`, a copy of the tree: it is the tree from now on, and who watches
 * hears of it; or it was not, and is thrown away.
 */
int
store_commit(struct store_ask *a, struct store_tree *changed, int err, enum store_touch_kind kind)
{
	uint16_t domid = a->client->domid;
	struct store_tree before;

	if (!err && domid && changed->owned[domid] > STORE_NODES &&
	    changed->owned[domid] > a->tree->owned[domid])
		err = -ENOSPC;
	if (!err)
		err = store_touch(a, kind, a->store->path);
	if (err) {
		tree_drop(changed);
		return err;
	}
	before = *a->tree;
	*a->tree = *changed;
	if (!a->transaction)
		store_fire(a->store, &before, a->store->path, kind == STORE_REMOVED);
	tree_drop(&before);
	return store_done(a);
}

/* What is new is the domain's who makes it; what dom0 makes is whose all above is. */
static struct store_perms
perms_below(const struct store_node *n, uint16_t domid)
{
	struct store_perms perms = n->perms;

	if (domid)
		perms.of[0].domid = domid;
	return perms;
}

/* The node at store->path, and those above that are not there yet. */
static int
make(struct store_ask *a, struct store_tree *changed)
{
	char *path = a->store->path;
	size_t there;
	const struct store_node *n = tree_nearest(changed, path, &there);
	struct store_perms perms = perms_below(n, a->client->domid);
	int err = 0;

	while (path[there] && !err) {
		size_t end = there + 1;
		char c;

		while (path[end] && path[end] != '/')
			end++;
		c = path[end];
		path[end] = 0;
		err = tree_create(changed, path, &perms, ++a->store->generation);
		if (!err && c)
			err = store_touch(a, STORE_SET, path);
		path[end] = c;
		there = end;
	}
	return err;
}

/* 0: it is there, 1: it is not, and may be made. */
static int
for_writing(struct store_ask *a)
{
	const struct store_node *n;
	int err = store_take_path(a);

	if (!err)
		err = store_find(a, STORE_WRITE, &n);
	return err == -ENOENT ? 1 : err;
}

static int
do_write(struct store_ask *a)
{
	int err = for_writing(a);
	struct store_tree changed;

	if (err < 0)
		return err;
	if (a->client->domid && a->rest_len > STORE_VALUE)
		return -ENOSPC;
	changed = tree_share(a->tree);
	err = err ? make(a, &changed) : 0;
	if (!err)
		err = tree_set_value(&changed, a->store->path, a->rest, a->rest_len,
				     ++a->store->generation);
	return store_commit(a, &changed, err, STORE_SET);
}

static int
do_mkdir(struct store_ask *a)
{
	int err = for_writing(a);
	struct store_tree changed;

	if (err <= 0)
		return err ? err : store_done(a);
	changed = tree_share(a->tree);
	return store_commit(a, &changed, make(a, &changed), STORE_SET);
}

/* One that is not there is removed already, if there is one above it to be removed from. */
static int
do_rm(struct store_ask *a)
{
	int err = for_writing(a);
	struct store_tree changed;
	size_t there;

	if (err < 0)
		return err;
	if (!a->store->path[1])
		return -EINVAL;
	if (err) {
		tree_nearest(a->tree, a->store->path, &there);
		for (there++; a->store->path[there]; there++)
			if (a->store->path[there] == '/')
				return -ENOENT;
		return store_done(a);
	}
	changed = tree_share(a->tree);
	err = tree_remove(&changed, a->store->path, ++a->store->generation);
	return store_commit(a, &changed, err, STORE_REMOVED);
}

/* ---- domains ---- */

static int
read_domid(struct store_ask *a, uint32_t *domid)
{
	*domid = 0;
	if (a->len < 2 || a->len > 6 || a->payload[a->len - 1])
		return -EINVAL;
	for (size_t k = 0; k + 1 < a->len; k++) {
		if (a->payload[k] < '0' || a->payload[k] > '9')
			return -EINVAL;
		*domid = *domid * 10 + (uint32_t)(a->payload[k] - '0');
	}
	return 0;
}

static int
do_get_domain_path(struct store_ask *a)
{
	uint32_t domid;
	int err = read_domid(a, &domid);

	return err ? err
		   : snprintf(a->store->answer, sizeof(a->store->answer), "/local/domain/%u",
			      domid) +
			       1;
}

static int
do_is_introduced(struct store_ask *a)
{
	const struct store_client *c = a->store->clients;
	uint32_t domid;
	int err = read_domid(a, &domid);

	while (c && c->domid != domid)
		c = c->next;
	return err ? err
		   : snprintf(a->store->answer, sizeof(a->store->answer), "%s", c ? "T" : "F") + 1;
}

/* dom0 makes domains known, and not by requests. */
static int
do_introduce(struct store_ask *a)
{
	return a->client->domid ? -EACCES : -ENOSYS;
}

static int (*const calls[XEN_XS_TYPES])(struct store_ask *a) = {
	[XEN_XS_DIRECTORY] = do_directory,
	[XEN_XS_READ] = do_read,
	[XEN_XS_GET_PERMS] = store_get_perms,
	[XEN_XS_WATCH] = store_watch,
	[XEN_XS_UNWATCH] = store_unwatch,
	[XEN_XS_TRANSACTION_START] = store_transaction_start,
	[XEN_XS_TRANSACTION_END] = store_transaction_end,
	[XEN_XS_INTRODUCE] = do_introduce,
	[XEN_XS_RELEASE] = do_introduce,
	[XEN_XS_GET_DOMAIN_PATH] = do_get_domain_path,
	[XEN_XS_WRITE] = do_write,
	[XEN_XS_MKDIR] = do_mkdir,
	[XEN_XS_RM] = do_rm,
	[XEN_XS_SET_PERMS] = store_set_perms,
	[XEN_XS_IS_DOMAIN_INTRODUCED] = do_is_introduced,
	[XEN_XS_RESET_WATCHES] = store_reset_watches,
};

/* ---- a request ---- */

static const char *
word_of(int err)
{
	static const struct {
		int err;
		const char *word;
	} words[] = {
		{ -EINVAL, "EINVAL" }, { -EACCES, "EACCES" }, { -EEXIST, "EEXIST" },
		{ -ENOENT, "ENOENT" }, { -ENOMEM, "ENOMEM" }, { -ENOSPC, "ENOSPC" },
		{ -ENOSYS, "ENOSYS" }, { -EBUSY, "EBUSY" },   { -EAGAIN, "EAGAIN" },
		{ -E2BIG, "E2BIG" },   { -EPERM, "EPERM" },
	};

	for (unsigned k = 0; k < sizeof(words) / sizeof(words[0]); k++)
		if (words[k].err == err)
			return words[k].word;
	return "EIO";
}

void
store_request(struct store *s, struct store_client *c, const struct xen_xsd_sockmsg *head,
	      const char *payload)
{
	struct store_ask a = {
		.store = s, .client = c, .tree = &s->tree, .payload = payload, .len = head->len
	};
	struct store_message m = { .head = *head };
	int got = head->type < XEN_XS_TYPES && calls[head->type] ? 0 : -ENOSYS;

	store_pays(c->domid);
	if (!got && head->tx_id) {
		a.transaction = c->transactions;
		while (a.transaction && a.transaction->id != head->tx_id)
			a.transaction = a.transaction->next;
		if (a.transaction)
			a.tree = &a.transaction->tree;
		else
			got = -ENOENT;
	}
	if (!got)
		got = calls[head->type](&a);
	if (got == -ENOMEM && store_reclaim(s, c))
		got = calls[head->type](&a);
	if (got < 0) {
		m.head.type = XEN_XS_ERROR;
		got = snprintf(s->answer, sizeof(s->answer), "%s", word_of(got)) + 1;
	}
	m.head.len = (uint32_t)got;
	store_say(s, c, &m, s->answer);
	if (a.begun)
		store_watch_begins(s, c, a.begun);
}

/*
 * The store's transactions: each has a tree of its own, and a list of what it has looked at and
 * changed there. In the end that is done again with the store's tree, if none of these nodes has
 * become another one since; else -EAGAIN, and its client tries anew.
 *
 * A node is the same one if its generation is; its list of children has one of its own. So two
 * transactions that have to do with different nodes both succeed, whoever else writes meanwhile.
 */
#include <guest/dom0/store.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

int
store_touch(struct store_ask *a, enum store_touch_kind kind, const char *path)
{
	struct store_transaction *t = a->transaction;
	size_t len = strlen(path) + 1;
	struct store_touch *one;

	if (!t)
		return 0;
	for (one = t->first; one && kind <= STORE_LISTED; one = one->next)
		if (one->kind == kind && !strcmp(one->path, path))
			return 0;
	if (a->client->domid && t->touched == STORE_TOUCHED)
		return -ENOSPC;
	one = store_alloc(sizeof(*one) + len);
	if (!one)
		return -ENOMEM;
	one->next = NULL;
	one->kind = kind;
	memcpy(one->path, path, len);
	*t->end = one;
	t->end = &one->next;
	t->touched++;
	return 0;
}

void
store_transaction_drop(struct store_client *c, struct store_transaction *t)
{
	struct store_transaction **at = &c->transactions;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	while (t->first) {
		struct store_touch *one = t->first;

		t->first = one->next;
		store_free(one);
	}
	tree_drop(&t->base);
	tree_drop(&t->tree);
	store_free(t);
}

static uint32_t
new_id(struct store_client *c)
{
	const struct store_transaction *t;

	do {
		c->last_transaction++;
		for (t = c->transactions; t && t->id != c->last_transaction; t = t->next)
			;
	} while (t || !c->last_transaction);
	return c->last_transaction;
}

int
store_transaction_start(struct store_ask *a)
{
	struct store_transaction *t;
	unsigned count = 0;

	if (a->transaction)
		return -EBUSY;
	for (t = a->client->transactions; t; t = t->next)
		count++;
	if (a->client->domid && count >= STORE_TRANSACTIONS)
		return -ENOSPC;
	t = store_alloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	t->id = new_id(a->client);
	t->base = tree_share(&a->store->tree);
	t->tree = tree_share(&a->store->tree);
	t->end = &t->first;
	t->next = a->client->transactions;
	a->client->transactions = t;
	return snprintf(a->store->answer, sizeof(a->store->answer), "%u", t->id) + 1;
}

/* 0: there is none. */
static uint64_t
generation(const struct store_tree *t, const struct store_touch *one)
{
	const struct store_node *n = tree_find(t, one->path);

	if (!n)
		return 0;
	return one->kind == STORE_LISTED ? n->listed : n->generation;
}

static bool
conflicts(const struct store *s, const struct store_transaction *t)
{
	for (const struct store_touch *one = t->first; one; one = one->next)
		if (generation(&t->base, one) != generation(&s->tree, one))
			return true;
	return t->doomed;
}

/* A node as it is at the transaction's end; what is gone by then has a removal behind this. */
static int
set_again(struct store *s, const struct store_transaction *t, struct store_tree *to,
	  const char *path)
{
	const struct store_node *n = tree_find(&t->tree, path);
	int err = 0;

	if (!n)
		return 0;
	if (!tree_find(to, path))
		err = tree_create(to, path, &n->perms, ++s->generation);
	if (!err)
		err = tree_set_perms(to, path, &n->perms, s->generation);
	return err ? err : tree_set_value(to, path, n->value, n->len, ++s->generation);
}

static int
do_again(struct store *s, const struct store_transaction *t, struct store_tree *to)
{
	int err = 0;

	for (const struct store_touch *one = t->first; one && !err; one = one->next) {
		if (one->kind == STORE_SET)
			err = set_again(s, t, to, one->path);
		else if (one->kind == STORE_REMOVED && tree_find(to, one->path))
			err = tree_remove(to, one->path, ++s->generation);
	}
	return err == -ENOENT ? -EAGAIN : err; /* what it lay in has been removed */
}

/* As if it had begun now, and done all that it has done; or it can't succeed any more. */
static void
catch_up(struct store *s, struct store_transaction *t)
{
	struct store_tree changed = tree_share(&s->tree);

	if (conflicts(s, t) || do_again(s, t, &changed)) {
		t->doomed = true;
		tree_drop(&changed);
		changed = tree_share(&s->tree);
	}
	tree_drop(&t->base);
	tree_drop(&t->tree);
	t->base = tree_share(&s->tree);
	t->tree = changed;
}

/*
 * What a transaction's trees keep of a node as it was is out of its owner's share, who may have
 * changed it often since, and is not to pay for who only looks back. So where somebody's share is
 * used up those of others see from then on what there is. It costs them nothing that they would
 * have had: one that has looked at what is another by now fails in the end anyway.
 */
bool
store_reclaim(struct store *s, const struct store_client *c)
{
	bool any = false;

	for (struct store_client *other = s->clients; other; other = other->next)
		for (struct store_transaction *t = other->transactions; t; t = t->next)
			if (other != c && t->base.root != s->tree.root) {
				catch_up(s, t);
				any = true;
			}
	return any;
}

static int
commit(struct store_ask *a, const struct store_transaction *t)
{
	struct store *s = a->store;
	uint16_t domid = a->client->domid;
	struct store_tree changed, before;
	int err;

	if (conflicts(s, t))
		return -EAGAIN;
	changed = tree_share(&s->tree);
	err = do_again(s, t, &changed);
	if (!err && domid && changed.owned[domid] > STORE_NODES &&
	    changed.owned[domid] > s->tree.owned[domid])
		err = -ENOSPC;
	if (err) {
		tree_drop(&changed);
		return err;
	}
	before = s->tree;
	s->tree = changed;
	for (const struct store_touch *one = t->first; one; one = one->next)
		if (one->kind >= STORE_SET)
			store_fire(s, &before, one->path, one->kind == STORE_REMOVED);
	tree_drop(&before);
	return 0;
}

/* It is over, whatever comes of it. */
int
store_transaction_end(struct store_ask *a)
{
	bool whole = a->len == 2 && !memcmp(a->payload, "T", 2);
	int err = 0;

	if (!a->transaction)
		return -ENOENT;
	if (!whole && (a->len != 2 || memcmp(a->payload, "F", 2)))
		return -EINVAL;
	if (whole)
		err = commit(a, a->transaction);
	store_transaction_drop(a->client, a->transaction);
	return err ? err : store_done(a);
}

/*
 * The store's watches: who wants to hear of what changes at a path, or below.
 *
 * An event says that something is new, not what: one that its client has not read yet stands for
 * all that come after it. So a client has at most one for each watch and path.
 */
#include <guest/dom0/store.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

static void
drop(struct store_watch **at)
{
	struct store_watch *w = *at;

	*at = w->next;
	store_free(w);
}

static const struct store_watch gone;

/* Events that wait for their client go with their watch. */
static void
drop_events(struct store_client *c, const struct store_watch *w)
{
	struct store_message **at = &c->first;

	c->end = &c->first;
	while (*at) {
		struct store_message *m = *at;

		if (m->of == w && m == c->first)
			m->of = &gone; /* some of it may have been sent: so the rest is, too */
		if (m->of == w) {
			*at = m->next;
			c->events--;
			store_free(m);
		} else {
			at = c->end = &m->next;
		}
	}
}

static bool
waits(const struct store_client *c, const struct store_watch *w, const char *bytes, size_t len)
{
	for (const struct store_message *m = c->first; m; m = m->next)
		if (m->of == w && m->head.len == len && !memcmp(m->bytes, bytes, len))
			return true;
	return false;
}

/*
 * To whoever watches: its own name of the path, and its token. dom0 itself looks at what there is,
 * and hears by the name that it watches: who makes many new ones fills nobody's share but his own.
 */
static void
tell(struct store *s, struct store_client *c, const struct store_watch *w, const char *path)
{
	struct store_message m = { .of = w, .head = { .type = XEN_XS_WATCH_EVENT } };
	size_t token = strlen(w->token) + 1, len;
	char *bytes = s->answer;

	if (!c->domid)
		path = w->path;
	len = strlen(path + w->skip) + 1;
	if (len + token > sizeof(s->answer))
		return;
	memcpy(bytes, path + w->skip, len);
	memcpy(bytes + len, w->token, token);
	m.head.len = (uint32_t)(len + token);
	if (waits(c, w, bytes, m.head.len))
		return;
	if (c->domid && c->events == STORE_EVENTS)
		c->broken = true;
	else
		store_say(s, c, &m, bytes);
}

/* `path` is `at`, or lies below it. */
static bool
is_below(const char *path, const char *at)
{
	size_t len = strlen(at);

	if (!at[1])
		return at[0] == '/';
	return strlen(path) >= len && !memcmp(path, at, len) && (!path[len] || path[len] == '/');
}

/* Nobody hears of what he may not read. */
static bool
may_hear(const struct store_tree *t, const struct store_client *c, const char *path)
{
	size_t there;

	return !store_allowed(tree_nearest(t, path, &there), c->domid, STORE_READ);
}

void
store_fire(struct store *s, const struct store_tree *before, const char *path, bool removed)
{
	const struct store_tree *t = removed ? before : &s->tree;

	for (struct store_client *c = s->clients; c; c = c->next)
		for (const struct store_watch *w = c->watches; w && !c->broken; w = w->next) {
			if (is_below(path, w->path)) {
				if (may_hear(t, c, path))
					tell(s, c, w, path);
			} else if (removed && is_below(w->path, path) && tree_find(t, w->path)) {
				if (may_hear(t, c, w->path))
					tell(s, c, w, w->path);
			}
		}
}

void
store_fire_special(struct store *s, const char *name)
{
	for (struct store_client *c = s->clients; c; c = c->next)
		for (const struct store_watch *w = c->watches; w; w = w->next)
			if (!strcmp(w->path, name))
				tell(s, c, w, name);
}

void
store_watch_begins(struct store *s, struct store_client *c, const struct store_watch *w)
{
	tell(s, c, w, w->path);
}

void
store_forget_watches(struct store_client *c)
{
	while (c->watches) {
		drop_events(c, c->watches);
		drop(&c->watches);
	}
}

/* ---- requests ---- */

/* "path\0token\0", to store->path: 0, -EINVAL, -EACCES. */
static int
take_watch(struct store_ask *a, const char **token, unsigned *skip)
{
	const char *end = a->payload + a->len;
	size_t path = 0;

	if (!a->len || end[-1])
		return -EINVAL;
	path = strlen(a->payload);
	*token = a->payload + path + 1;
	*skip = 0;
	if (*token == end || *token + strlen(*token) + 1 != end || strlen(*token) > STORE_TOKEN)
		return -EINVAL;
	if (a->payload[0] == '@') {
		if (strcmp(a->payload, "@introduceDomain") && strcmp(a->payload, "@releaseDomain"))
			return -EINVAL;
		memcpy(a->store->path, a->payload, path + 1);
		return a->client->domid ? -EACCES : 0;
	}
	if (store_path(a->store, a->client->domid, a->payload, path))
		return -EINVAL;
	*skip = (unsigned)(strlen(a->store->path) - path);
	return 0;
}

static struct store_watch **
find(struct store_ask *a, const char *token)
{
	struct store_watch **at = &a->client->watches;

	while (*at && (strcmp((*at)->path, a->store->path) || strcmp((*at)->token, token)))
		at = &(*at)->next;
	return at;
}

/* Behind the answer the first event comes at once: what is there now is news, too. */
int
store_watch(struct store_ask *a)
{
	const char *token;
	unsigned skip, count = 0;
	struct store_watch *w;
	int err = take_watch(a, &token, &skip);
	size_t path = strlen(a->store->path) + 1;

	for (w = a->client->watches; w; w = w->next)
		count++;
	if (err || *find(a, token))
		return err ? err : -EEXIST;
	if (a->client->domid && count >= STORE_WATCHES)
		return -ENOSPC;
	w = store_alloc(sizeof(*w) + path + strlen(token) + 1);
	if (!w)
		return -ENOMEM;
	w->skip = skip;
	w->token = w->path + path;
	memcpy(w->path, a->store->path, path);
	memcpy(w->token, token, strlen(token) + 1);
	w->next = a->client->watches;
	a->client->watches = w;
	a->begun = w;
	return store_done(a);
}

int
store_unwatch(struct store_ask *a)
{
	const char *token;
	unsigned skip;
	struct store_watch **at;
	int err = take_watch(a, &token, &skip);

	if (err)
		return err;
	at = find(a, token);
	if (!*at)
		return -ENOENT;
	drop_events(a->client, *at);
	drop(at);
	return store_done(a);
}

int
store_reset_watches(struct store_ask *a)
{
	store_forget_watches(a->client);
	while (a->client->transactions)
		store_transaction_drop(a->client, a->client->transactions);
	return store_done(a);
}

/*
 * The store's daemon: who asks by which ring, and what dom0 itself writes about a domain.
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/dom0.h>
#include <guest/dom0/netback.h>

static struct store store;
static struct store_client *us;

/* Paths that parts of dom0 watch; the token is the place here, as a number. */
#define WATCHES (VBDS + VIFS)
static struct watched {
	bool *seen; /* NULL: free */
	char path[PATH_SIZE];
} watched[WATCHES];

/* The token is behind the path. */
static void
hear(const struct store_message *m)
{
	const char *digit = m->bytes + strlen(m->bytes) + 1;
	unsigned n = 0;

	while (*digit)
		n = n * 10 + (unsigned)(*digit++ - '0');
	if (watched[n].seen)
		*watched[n].seen = true;
}

/* dom0's own request; whether it was done. Its answer is said if `show`. */
static bool
ask(enum xen_xsd_sockmsg_type type, const char *payload, size_t len)
{
	const struct xen_xsd_sockmsg head = { .type = type, .len = (uint32_t)len };
	bool good = true;

	store_request(&store, us, &head, payload);
	for (; us->first; store_sent(us))
		if (us->first->of)
			hear(us->first);
		else
			good &= us->first->head.type != XEN_XS_ERROR;
	return good && !us->broken;
}

void
daemon_hears(void)
{
	for (; us->first; store_sent(us))
		hear(us->first);
}

bool
daemon_write(const char *path, const char *value)
{
	char text[PATH_SIZE + 200];
	int n = snprintf(text, sizeof(text), "%s", path), v;

	v = snprintf(text + n + 1, sizeof(text) - (size_t)n - 1, "%s", value);
	return ask(XEN_XS_WRITE, text, (size_t)(n + 1 + v));
}

bool
daemon_remove(const char *path)
{
	return ask(XEN_XS_RM, path, strlen(path) + 1);
}

bool
daemon_directory(const char *path, unsigned owner, unsigned reader)
{
	char text[PATH_SIZE + 20];
	int n = snprintf(text, sizeof(text), "%s", path) + 1;

	if (!ask(XEN_XS_MKDIR, text, (size_t)n))
		return false;
	n += snprintf(text + n, sizeof(text) - (size_t)n, "n%u", owner) + 1;
	n += snprintf(text + n, sizeof(text) - (size_t)n, "r%u", reader) + 1;
	return ask(XEN_XS_SET_PERMS, text, (size_t)n);
}

bool
daemon_read(const char *path, char *to, size_t size)
{
	const struct store_node *n = tree_find(&store.tree, path);

	if (!n || n->len >= size)
		return false;
	memcpy(to, n->value, n->len);
	to[n->len] = 0;
	return true;
}

bool
daemon_read_number(const char *path, uint64_t *number)
{
	char text[20], *digit = text;
	uint64_t n = 0;

	if (!daemon_read(path, text, sizeof(text)) || !*text)
		return false;
	for (; *digit >= '0' && *digit <= '9'; digit++)
		n = n * 10 + (uint64_t)(*digit - '0');
	if (!*digit)
		*number = n;
	return !*digit;
}

/* Of whoever it is that watches this one there. */
static bool
ask_watch(enum xen_xsd_sockmsg_type type, const struct watched *w)
{
	char text[PATH_SIZE + 4];
	int n = snprintf(text, sizeof(text), "%s", w->path) + 1;

	n += snprintf(text + n, sizeof(text) - (size_t)n, "%u", (unsigned)(w - watched)) + 1;
	return ask(type, text, (size_t)n);
}

bool
daemon_watch(const char *path, bool *seen)
{
	struct watched *w = watched;

	while (w < watched + WATCHES && w->seen)
		w++;
	if (w == watched + WATCHES)
		return false;
	w->seen = seen;
	snprintf(w->path, sizeof(w->path), "%s", path);
	return ask_watch(XEN_XS_WATCH, w);
}

void
daemon_unwatch(const bool *seen)
{
	for (struct watched *w = watched; w < watched + WATCHES; w++)
		if (w->seen == seen) {
			ask_watch(XEN_XS_UNWATCH, w);
			w->seen = NULL;
		}
}

static void
write(unsigned id, const char *key, const char *value)
{
	char text[200];
	int n = snprintf(text, sizeof(text), "/local/domain/%u/%s", id, key), v;

	v = snprintf(text + n + 1, sizeof(text) - (size_t)n - 1, "%s", value);
	if (!ask(XEN_XS_WRITE, text, (size_t)(n + 1 + v)))
		say("dom0: the store takes no %s of domain %u\n", key, id);
}

/* What it may write itself is below; the rest says who it is. */
static void
directory(unsigned id, const char *below)
{
	char text[80];
	int n = snprintf(text, sizeof(text), "/local/domain/%u%s", id, below), p;

	ask(XEN_XS_MKDIR, text, (size_t)n + 1);
	p = snprintf(text + n + 1, sizeof(text) - (size_t)n - 1, "n%u", id);
	if (!ask(XEN_XS_SET_PERMS, text, (size_t)(n + 1 + p + 1)))
		say("dom0: the store has no place for domain %u\n", id);
}

void
daemon_init(void)
{
	if (store_init(&store) || !(us = store_introduce(&store, 0))) {
		say("dom0: no memory for the store\n");
		out_flush();
		pv_exit(1);
	}
	write(0, "name", "dom0");
	write(0, "domid", "0");
}

static void
write_number(unsigned id, const char *key, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", number);
	write(id, key, text);
}

/* In KiB: a balloon watches that. */
void
daemon_wants(struct domu *u, uint64_t ram)
{
	write_number(u->id, "memory/target", ram >> 10);
}

/* Linux watches these, and takes itself what is offline out of use. */
void
daemon_wants_vcpus(struct domu *u, unsigned count)
{
	char key[24];

	for (unsigned n = 0; n < u->vcpus; n++) {
		snprintf(key, sizeof(key), "cpu/%u/availability", n);
		write(u->id, key, n < count ? "online" : "offline");
	}
}

void
daemon_begins(struct domu *u, uint64_t ram)
{
	char path[40];

	u->client = store_introduce(&store, (uint16_t)u->id);
	if (!u->client) {
		say("dom0: no memory for the store of %s\n", u->name);
		return;
	}
	directory(u->id, "");
	write(u->id, "name", u->name);
	write_number(u->id, "domid", u->id);
	daemon_wants_vcpus(u, u->vcpus);
	snprintf(path, sizeof(path), "/local/domain/%u/memory", u->id);
	daemon_directory(path, 0, u->id);
	write_number(u->id, "memory/static-max", u->most >> 10);
	daemon_wants(u, ram);
	if (!u->store)
		return;
	store_ring_goes_on(&u->wire, u->store);
	u->store->ring.server_features = XEN_STORE_FEATURE_ERROR;
}

/* By its node control/shutdown: a kernel that watches it obeys, or does nothing. */
void
daemon_asks(struct domu *u, const char *what)
{
	write(u->id, "control/shutdown", what);
}

void
daemon_ends(struct domu *u)
{
	char path[40];
	int n = snprintf(path, sizeof(path), "/local/domain/%u", u->id);

	ask(XEN_XS_RM, path, (size_t)n + 1); /* of which others hear */
	if (u->client)
		store_release(&store, u->client);
	u->client = NULL;
}

bool
daemon_serve(struct domu *u)
{
	if (!u->store || !u->client || !store_ring_serve(&u->wire, u->store, &store, u->client))
		return false;
	if (u->wire.broken)
		say("\n%s's store is closed to it: %s\n", u->name, u->wire.broken);
	pv_send(u->store_port);
	return true;
}

/*
 * A value is any bytes, of whoever wrote it: nothing that a terminal does more with than show it.
 */
static void
show(const struct store_node *n, unsigned depth)
{
	for (uint32_t i = 0; i < n->count; i++) {
		const struct store_node *child = n->child[i];

		for (unsigned k = 0; k < depth; k++)
			say("  ");
		say("%s = \"", child->name);
		for (uint32_t k = 0; k < child->len; k++)
			say("%c", child->value[k] >= ' ' && child->value[k] <= '~' ? child->value[k]
										   : '.');
		say("\"\n");
		show(child, depth + 1);
	}
}

void
daemon_show(const char *path)
{
	const struct store_node *n = tree_find(&store.tree, path);

	if (n)
		show(n, 0);
	else
		say("%s: the store has nothing there\n", path);
}

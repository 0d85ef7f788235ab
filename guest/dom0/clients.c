/*
 * The store: who asks, and what is on its way to them.
 */
#include <guest/dom0/store.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

/* ---- messages ---- */

void
store_say(struct store_client *c, const struct store_message *m, const char *bytes)
{
	struct store_message *copy =
		c->broken ? NULL : store_alloc(sizeof(*copy) + m->head.len + 1);

	if (!copy) { /* what it waits for would never come */
		c->broken = true;
		return;
	}
	*copy = *m;
	copy->next = NULL;
	memcpy(copy->bytes, bytes, m->head.len);
	*c->end = copy;
	c->end = &copy->next;
	c->events += m->of != NULL;
	c->answers += m->of == NULL;
}

void
store_sent(struct store_client *c)
{
	struct store_message *m = c->first;

	c->events -= m->of != NULL;
	c->answers -= m->of == NULL;
	c->first = m->next;
	if (!c->first)
		c->end = &c->first;
	store_free(m);
}

/* ---- who asks ---- */

int
store_init(struct store *s)
{
	memset(s, 0, sizeof(*s));
	s->generation = 1;
	return tree_make(&s->tree);
}

struct store_client *
store_introduce(struct store *s, uint16_t domid)
{
	struct store_client *c = store_alloc(sizeof(*c));

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->domid = domid;
	c->end = &c->first;
	c->next = s->clients;
	s->clients = c;
	if (domid)
		store_fire_special(s, "@introduceDomain");
	return c;
}

static void
forget_client(struct store *s, struct store_client *c)
{
	struct store_client **at = &s->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	while (c->transactions)
		store_transaction_drop(c, c->transactions);
	store_forget_watches(c);
	while (c->first)
		store_sent(c);
	store_free(c);
}

/* The next domain of this number has no right that this one had, by no transaction either. */
int
store_release(struct store *s, struct store_client *c)
{
	uint16_t domid = c->domid;
	struct store_tree changed = tree_share(&s->tree);
	int err = domid ? tree_forget(&changed, domid, ++s->generation) : 0;

	if (err) {
		tree_drop(&changed);
		return err;
	}
	tree_drop(&s->tree);
	s->tree = changed;
	forget_client(s, c);
	for (struct store_client *other = s->clients; domid && other; other = other->next)
		for (struct store_transaction *t = other->transactions; t; t = t->next)
			t->doomed = true;
	if (domid)
		store_fire_special(s, "@releaseDomain");
	return 0;
}

void
store_end(struct store *s)
{
	while (s->clients)
		forget_client(s, s->clients);
	tree_drop(&s->tree);
}

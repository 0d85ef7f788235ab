/*
 * The store: who asks, and what is on its way to them.
 */
#include <guest/dom0/store.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

/* ---- messages ---- */

void
store_say(struct store *s, struct store_client *c, const struct store_message *m, const char *bytes)
{
	uint16_t asks = store_pays(c->domid);
	size_t size = sizeof(struct store_message) + m->head.len + 1;
	struct store_message *copy = c->broken ? NULL : store_alloc(size);

	if (!copy && !c->broken && store_reclaim(s, c))
		copy = store_alloc(size);
	store_pays(asks);
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
store_lost(struct store *s, struct store_client *c, const struct xen_xsd_sockmsg *head)
{
	const char word[] = "EIO";
	struct store_message m = { .head = *head };

	store_pays(c->domid);
	m.head.type = XEN_XS_ERROR;
	m.head.len = sizeof(word);
	store_say(s, c, &m, word);
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
	store_pays(0);
	return tree_make(&s->tree);
}

struct store_client *
store_introduce(struct store *s, uint16_t domid)
{
	struct store_client *c;

	store_pays(domid);
	c = store_alloc(sizeof(*c));
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

/*
 * The next domain of this number has no right that this one had, by no transaction either: those
 * that are open can't succeed any more, and see from now on what there is.
 */
void
store_release(struct store *s, struct store_client *c)
{
	uint16_t domid = c->domid;

	forget_client(s, c);
	if (!domid)
		return;
	for (c = s->clients; c; c = c->next)
		for (struct store_transaction *t = c->transactions; t; t = t->next) {
			t->doomed = true;
			tree_drop(&t->base);
			tree_drop(&t->tree);
		}
	tree_forget(&s->tree, domid, ++s->generation);
	for (c = s->clients; c; c = c->next)
		for (struct store_transaction *t = c->transactions; t; t = t->next) {
			t->base = tree_share(&s->tree);
			t->tree = tree_share(&s->tree);
		}
	store_fire_special(s, "@releaseDomain");
}

void
store_end(struct store *s)
{
	while (s->clients)
		forget_client(s, s->clients);
	tree_drop(&s->tree);
}

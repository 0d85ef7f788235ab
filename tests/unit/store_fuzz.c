/* BUILD: guest/dom0/tree.c guest/dom0/store.c guest/dom0/clients.c guest/dom0/watch.c
 * guest/dom0/transaction.c guest/dom0/store_ring.c guest/dom0/perms.c */
/*
 * dom0's store, by chance. A model beside it has a table instead of a tree, and does the requests
 * of a transaction all at once where it ends: each must have answered what it answers then. Behind
 * it requests of any bytes, while there is memory or not, with everything counted again.
 * store_ring.c has rings.
 */
#include <string.h>

#include "store_chance.h"
#include "tap.h"

/* Its answer, of `len` bytes, and its type. */
static uint32_t
ask(struct store_client *c, uint32_t type, uint32_t tx, const void *payload, uint32_t size,
    char to[XEN_STORE_PAYLOAD + 1], uint32_t *len)
{
	const struct xen_xsd_sockmsg head = { type, 1, tx, size };
	char *exactly = malloc(size ? size : 1); /* a byte more is seen */

	memcpy(exactly, payload, size);
	store_request(&store, c, &head, exactly);
	free(exactly);
	*len = c->first->head.len;
	memcpy(to, c->first->bytes, *len);
	to[*len] = 0;
	type = c->first->head.type;
	store_sent(c);
	return type;
}

/* ---- the model: nodes by number, each below (number - 1) / 3 ---- */

#define NODES 40u /* three below each, three deep */
#define OPEN  4u  /* transactions at once */
#define STEPS 12u

struct model {
	bool there[NODES];
	unsigned value[NODES];
};

struct step {
	uint32_t type;
	unsigned node, value;
	char answer[64];
};

static struct model model;
static struct {
	uint32_t id; /* 0: not begun */
	unsigned steps;
	struct step step[STEPS];
} opened[OPEN];

static void
name_of(unsigned node, char *path)
{
	if (!node) {
		strcpy(path, "/");
		return;
	}
	name_of((node - 1) / 3, path);
	sprintf(path + strlen(path), "%s%c", path[1] ? "/" : "", 'a' + (node - 1) % 3);
}

static void
model_remove(struct model *m, unsigned node)
{
	m->there[node] = false;
	for (unsigned k = 3 * node + 1; k <= 3 * node + 3 && k < NODES; k++)
		model_remove(m, k);
}

static void
model_make(struct model *m, unsigned node)
{
	if (m->there[node])
		return;
	model_make(m, (node - 1) / 3);
	m->there[node] = true;
	m->value[node] = 0;
}

/* What the store must answer; a directory's names as a set, as letters. */
static void
model_does(struct model *m, const struct step *s, char answer[64])
{
	strcpy(answer, "OK");
	switch (s->type) {
	case XEN_XS_READ:
	case XEN_XS_DIRECTORY:
		if (!m->there[s->node]) {
			strcpy(answer, "ENOENT");
		} else if (s->type == XEN_XS_READ) {
			sprintf(answer, "%u", m->value[s->node]);
		} else {
			*answer = 0;
			for (unsigned k = 3 * s->node + 1; k <= 3 * s->node + 3 && k < NODES; k++)
				if (m->there[k])
					sprintf(answer + strlen(answer), "%c", 'a' + (k - 1) % 3);
		}
		return;
	case XEN_XS_WRITE:
		model_make(m, s->node);
		m->value[s->node] = s->value;
		return;
	case XEN_XS_MKDIR:
		model_make(m, s->node);
		return;
	default:
		if (!s->node)
			strcpy(answer, "EINVAL");
		else if (m->there[s->node])
			model_remove(m, s->node);
		else if (!m->there[(s->node - 1) / 3])
			strcpy(answer, "ENOENT");
	}
}

static int
by_letter(const void *a, const void *b)
{
	return *(const char *)a - *(const char *)b;
}

static void
store_does(struct store_client *c, uint32_t tx, struct step *s)
{
	char payload[64], got[XEN_STORE_PAYLOAD + 1], *to = s->answer;
	uint32_t len, size, type;

	name_of(s->node, payload);
	size = (uint32_t)strlen(payload) + 1;
	if (s->type == XEN_XS_WRITE && s->value)
		size += (uint32_t)sprintf(payload + size, "%u", s->value);
	type = ask(c, s->type, tx, payload, size, got, &len);
	if (type != XEN_XS_DIRECTORY) {
		strcpy(to, len ? got : "0");
		return;
	}
	for (uint32_t k = 0; k < len; k++)
		if (got[k])
			*to++ = got[k];
	*to = 0;
	qsort(s->answer, strlen(s->answer), 1, by_letter);
}

static struct step
any_step(void)
{
	static const uint32_t types[] = { XEN_XS_READ,  XEN_XS_DIRECTORY, XEN_XS_WRITE,
					  XEN_XS_WRITE, XEN_XS_MKDIR,     XEN_XS_RM };

	return (struct step){ types[draw(6)], draw(NODES), 1 + draw(900), "" };
}

/* Its end: whether the model, doing all of it now, answers each as the store has. */
static bool
ends(struct store_client *c, unsigned t, unsigned *made)
{
	char got[XEN_STORE_PAYLOAD + 1], want[64];
	struct model next = model;
	uint32_t len;
	bool good = true;

	ask(c, XEN_XS_TRANSACTION_END, opened[t].id, "T", 2, got, &len);
	for (unsigned k = 0; k < opened[t].steps; k++) {
		model_does(&next, &opened[t].step[k], want);
		good &= !strcmp(want, opened[t].step[k].answer);
	}
	opened[t].id = 0;
	if (!strcmp(got, "EAGAIN"))
		return true;
	++*made;
	model = next;
	return good && !strcmp(got, "OK");
}

static void
serial(void)
{
	char got[XEN_STORE_PAYLOAD + 1], want[64];
	unsigned bad = 0, made = 0, ended = 0;
	struct store_client *c;
	uint32_t len;

	store_init(&store);
	c = store_introduce(&store, 0);
	model.there[0] = true;
	for (unsigned n = 0; n < 60000; n++) {
		struct step step = any_step();
		unsigned t = draw(2 * OPEN);

		if (t >= OPEN) {
			if (draw(6)) /* most is done in transactions */
				continue;
			store_does(c, 0, &step);
			model_does(&model, &step, want);
			bad += strcmp(want, step.answer) != 0;
		} else if (!opened[t].id) {
			ask(c, XEN_XS_TRANSACTION_START, 0, "", 1, got, &len);
			opened[t].id = (uint32_t)atoi(got);
			opened[t].steps = 0;
		} else if (opened[t].steps == STEPS || !draw(4)) {
			ended++;
			bad += !ends(c, t, &made);
		} else {
			store_does(c, opened[t].id, &step);
			opened[t].step[opened[t].steps++] = step;
		}
	}
	is_u64(bad, 0, "%u requests and transactions as if one after the other", ended);
	ok(made > ended / 20 && made < ended, "%u of %u succeed", made, ended);
	store_end(&store);
	is_u64(alive, 0, "all memory is given back");
}

/* ---- any bytes ---- */

static unsigned nodes[STORE_DOMAINS];

static void
count(const struct store_node *n)
{
	if (n->perms.of[0].domid < STORE_DOMAINS)
		nodes[n->perms.of[0].domid]++;
	for (uint32_t k = 0; k < n->count; k++)
		count(n->child[k]);
}

static unsigned
recount(void)
{
	memset(nodes, 0, sizeof(nodes));
	count(store.tree.root);
	for (unsigned n = 0; n < STORE_DOMAINS; n++)
		if (nodes[n] != store.tree.owned[n])
			return 1;
	return 0;
}

/* Pieces that a request may be made of; now and then a byte is another one. */
static uint32_t
any_payload(char *to)
{
	static const char *const pieces[] = { "/", "a",   "b",     "local", "domain",
					      "1", "2",   "n1",    "r2",    "b0",
					      "T", "F",   "token", "@",     "@introduceDomain",
					      "",  "-_@", "c/d/e" };
	uint32_t len = 0;

	for (unsigned n = draw(9); n; n--) {
		const char *piece = pieces[draw(sizeof(pieces) / sizeof(pieces[0]))];

		memcpy(to + len, piece, strlen(piece));
		len += (uint32_t)strlen(piece);
		if (draw(3))
			to[len++] = draw(2) ? '/' : 0;
	}
	if (draw(4))
		to[len++] = 0;
	if (len && !draw(8))
		to[draw(len)] = (char)draw(256);
	return len;
}

static void
anything(void)
{
	struct store_client *c[3];
	char payload[256];
	unsigned bad = 0, gone = 0;

	store_init(&store);
	for (uint16_t n = 0; n < 3; n++)
		c[n] = store_introduce(&store, n);
	store_request(&store, c[0], &(struct xen_xsd_sockmsg){ XEN_XS_SET_PERMS, 1, 0, 5 },
		      "/\0b0");
	for (unsigned n = 0; n < 60000; n++) {
		unsigned who = draw(3);
		struct xen_xsd_sockmsg head = { draw(24), n, draw(3) ? 0 : draw(12), 0 };
		char *exactly;

		refuses = draw(4) ? 0 : 1 + draw(20);
		head.len = any_payload(payload);
		exactly = malloc(head.len ? head.len : 1);
		memcpy(exactly, payload, head.len);
		store_request(&store, c[who], &head, exactly);
		free(exactly);
		while (c[who]->first && draw(10))
			store_sent(c[who]);
		refuses = 0;
		if (n % 64 == 0)
			bad += recount();
		if (who && (c[who]->broken || !draw(2000))) {
			refuses = 1; /* it takes no memory */
			store_release(&store, c[who]);
			refuses = 0;
			bad += recount();
			c[who] = store_introduce(&store, (uint16_t)who);
			gone++;
		}
		c[0]->broken = false;
	}
	is_u64(bad, 0, "requests of any bytes, %u domains that come and go: counts hold", gone);
	store_end(&store);
	is_u64(alive, 0, "all memory is given back");
}

int
main(void)
{
	serial();
	anything();
	return done_testing();
}

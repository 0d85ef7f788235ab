/* BUILD: guest/dom0/tree.c guest/dom0/store.c guest/dom0/clients.c guest/dom0/watch.c
 * guest/dom0/transaction.c guest/dom0/store_ring.c guest/dom0/perms.c */
/*
 * dom0's store, by chance. A model beside it has a table instead of a tree, and does the requests
 * of a transaction all at once where it ends: each must have answered what it answers then. Behind
 * it requests of any bytes, while there is memory or not, with everything counted again; and rings.
 */
#include <string.h>

#include <guest/dom0/store_ring.h>

#include "tap.h"

static uint64_t seed = 7;
static unsigned alive;   /* pieces of memory */
static unsigned refuses; /* one of so many: there is no more; 0: never */

static uint32_t
draw(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % below;
}

uint16_t
store_pays(uint16_t domid)
{
	return 0;
}

void *
store_alloc(size_t size)
{
	void *p = refuses && !draw(refuses) ? NULL : malloc(size);

	alive += p != NULL;
	return p;
}

void
store_free(void *p)
{
	alive -= p != NULL;
	free(p);
}

static struct store store;

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

/* ---- the ring ---- */

static void
put(struct xen_store_ring *r, const void *bytes, uint32_t count)
{
	for (uint32_t n = 0; n < count; n++)
		r->req[r->req_prod++ % XEN_STORE_RING] = ((const uint8_t *)bytes)[n];
}

/* A request of any length in pieces, whose answer is read in pieces. */
static bool
round_trip(struct store_ring *s, struct store_page *p, struct store_client *c, uint32_t id)
{
	struct xen_store_ring *r = &p->ring;
	static uint8_t message[16 + XEN_STORE_PAYLOAD], got[16 + XEN_STORE_PAYLOAD];
	struct xen_xsd_sockmsg head = { XEN_XS_WRITE, id, 0, 5 + draw(XEN_STORE_PAYLOAD - 4) };
	uint32_t size = 16 + head.len, sent = 0, read = 0;

	memcpy(message, &head, 16);
	memset(message + 16, 'a' + (int)(id % 26), head.len);
	memcpy(message + 16, "/key", 5);
	for (unsigned n = 0; n < 2 && sent == read; n++) { /* write it, and then read it */
		while (sent < size) {
			uint32_t some = draw(2 + XEN_STORE_RING - (r->req_prod - r->req_cons));

			some = some < size - sent ? some : size - sent;
			some = some < XEN_STORE_RING - (r->req_prod - r->req_cons)
				       ? some
				       : XEN_STORE_RING - (r->req_prod - r->req_cons);
			put(r, message + sent, some);
			sent += some;
			store_ring_serve(s, p, &store, c);
		}
		for (read = 0; read < 16 || read < 16 + ((struct xen_xsd_sockmsg *)got)->len;) {
			if (r->rsp_cons == r->rsp_prod && !store_ring_serve(s, p, &store, c))
				return false;
			for (uint32_t some = 1 + draw(700); some && r->rsp_cons != r->rsp_prod;
			     some--)
				got[read++] = r->rsp[r->rsp_cons++ % XEN_STORE_RING];
		}
		if (!n && memcmp(got + 16, "OK", 3))
			return false;
		if (n)
			return ((struct xen_xsd_sockmsg *)got)->len == head.len - 5 &&
			       !memcmp(got + 16, message + 21, head.len - 5);
		size = 16 + 5;
		sent = read = 0;
		message[0] = XEN_XS_READ;
		message[12] = 5;
		message[13] = 0;
	}
	return false;
}

static void
ring(void)
{
	static struct store_page p;
	static struct store_ring s;
	struct xen_store_ring *r = &p.ring;
	struct store_client *c;
	unsigned bad = 0;

	store_init(&store);
	c = store_introduce(&store, 0);
	r->req_cons = r->req_prod = r->rsp_cons = r->rsp_prod = 0xffffff00;
	for (unsigned n = 0; n < 500; n++)
		bad += !round_trip(&s, &p, c, n);
	is_u64(bad, 0, "values of any length through the ring and back");
	r->req_prod = r->req_cons + XEN_STORE_RING + 1;
	ok(store_ring_serve(&s, &p, &store, c) && r->error == XEN_STORE_ERROR_RINGIDX,
	   "more than a ring: told");
	r->req_prod = r->req_cons;
	ok(!store_ring_serve(&s, &p, &store, c), "... and the end of all answers");
	memset(&s, 0, sizeof(s));
	put(r, &(struct xen_xsd_sockmsg){ XEN_XS_READ, 1, 0, XEN_STORE_PAYLOAD + 1 }, 16);
	ok(store_ring_serve(&s, &p, &store, c) && r->error == XEN_STORE_ERROR_PROTO,
	   "too long: told");
	for (unsigned n = 0; n < 1000; n++) {
		for (unsigned k = 0; k < sizeof(p) / 4; k++)
			((uint32_t *)&p)[k] = draw(4) ? draw(1500) : draw(~0u);
		s.broken = NULL;
		c->broken = false;
		bad += store_ring_serve(&s, &p, &store, c);
	}
	ok(bad, "pages of anything: %u times something happened", bad);
	store_end(&store);
	is_u64(alive, 0, "all memory is given back");
}

/* ---- dom0 ends, and another one comes ---- */

static struct {
	struct store_page page;
	uint8_t out[20 + XEN_STORE_PAYLOAD], in[20 + XEN_STORE_PAYLOAD];
	uint32_t out_size, sent, read;
	uint32_t asked, answered, eio;
} guest;

/* The next request is on its way, or some more of it: of those that wait three at most. */
static void
guest_asks(void)
{
	struct xen_store_ring *r = &guest.page.ring;
	uint32_t room = XEN_STORE_RING - (r->req_prod - r->req_cons), some = draw(room + 1);

	if (guest.sent == guest.out_size && guest.asked - guest.answered < 3) {
		struct xen_xsd_sockmsg head = { draw(2) ? XEN_XS_WRITE : XEN_XS_READ, ++guest.asked,
						0, 5 };

		head.len += head.type == XEN_XS_READ ? 0
			    : draw(8)                ? draw(900)
						     : draw(XEN_STORE_PAYLOAD - 5);
		memset(guest.out, 'v', sizeof(guest.out));
		memcpy(guest.out, &head, 16);
		memcpy(guest.out + 16, "/key", 5);
		guest.out_size = 16 + head.len;
		guest.sent = 0;
	}
	some = some < guest.out_size - guest.sent ? some : guest.out_size - guest.sent;
	put(r, guest.out + guest.sent, some);
	guest.sent += some;
}

/* What comes is an answer to each, one behind the other. False: it is out of step. */
static bool
guest_hears(void)
{
	struct xen_store_ring *r = &guest.page.ring;
	struct xen_xsd_sockmsg head;

	for (uint32_t some = draw(1500); some && r->rsp_cons != r->rsp_prod; some--) {
		guest.in[guest.read++] = r->rsp[r->rsp_cons++ % XEN_STORE_RING];
		memcpy(&head, guest.in, 16);
		if (guest.read >= 16 && head.len > XEN_STORE_PAYLOAD)
			return false;
		if (guest.read < 16 || guest.read < 16 + head.len)
			continue;
		guest.read = 0;
		if (head.req_id != ++guest.answered)
			return false;
		guest.eio += head.type == XEN_XS_ERROR && !memcmp(guest.in + 16, "EIO", 4);
	}
	return true;
}

/* One at a time, of this length, with a new dom0 before each look at the ring: none is lost. */
static bool
small_ones(void)
{
	for (uint32_t len = 5; len <= XEN_STORE_RING - 16; len++) {
		struct xen_xsd_sockmsg head = { XEN_XS_WRITE, len, 0, len }, got;
		struct store_ring s;
		struct store_client *c;

		memset(&guest, 0, sizeof(guest));
		memcpy(guest.out, &head, 16);
		memcpy(guest.out + 16, "/key", 5);
		for (uint32_t n = 0; n < 16 + len; n += 1 + len / 3) {
			put(&guest.page.ring, guest.out + n,
			    16 + len - n < 1 + len / 3 ? 16 + len - n : 1 + len / 3);
			store_init(&store);
			c = store_introduce(&store, 0);
			store_ring_goes_on(&s, &guest.page);
			store_ring_serve(&s, &guest.page, &store, c);
			store_end(&store);
		}
		memcpy(&got, guest.page.ring.rsp, 16);
		if (got.type != XEN_XS_WRITE || got.req_id != len ||
		    guest.page.ring.rsp_prod != 16 + 3)
			return false;
	}
	return true;
}

/* As Linux writes (xenbus_comms.c, xb_write): it rings for what it adds if all before was taken. */
static bool
as_linux_rings(void)
{
	struct xen_store_ring *r = &guest.page.ring;
	struct store_client *c;
	struct store_ring s;

	memset(&guest, 0, sizeof(guest));
	memset(&s, 0, sizeof(s));
	store_init(&store);
	c = store_introduce(&store, 0);
	for (uint32_t n = 1; n < 2000; n++) {
		struct xen_xsd_sockmsg head = { XEN_XS_READ, n, 0, 5 };
		uint32_t cut = draw(21), before = r->req_prod;

		memcpy(guest.out, &head, 16);
		memcpy(guest.out + 16, "/key", 5);
		put(r, guest.out, cut);
		if (before == r->req_cons)
			store_ring_serve(&s, &guest.page, &store, c);
		before = r->req_prod;
		put(r, guest.out + cut, 21 - cut);
		if (before == r->req_cons)
			store_ring_serve(&s, &guest.page, &store, c);
		if (r->rsp_prod == r->rsp_cons)
			return false;
		r->rsp_cons = r->rsp_prod;
	}
	store_end(&store);
	return true;
}

static void
hand_over(void)
{
	static struct store_ring s;
	struct store_client *c;
	unsigned ends = 0;
	bool in_step = true;

	ok(as_linux_rings(), "a request in two parts is answered, whatever Linux rings for");
	ok(small_ones(), "what fits into the ring is asked once, whoever is dom0 meanwhile");
	memset(&guest, 0, sizeof(guest));
	store_init(&store);
	c = store_introduce(&store, 0);
	for (unsigned n = 0; n < 40000 && in_step; n++) {
		if (!draw(20)) {
			store_end(&store);
			store_init(&store);
			c = store_introduce(&store, 0);
			store_ring_goes_on(&s, &guest.page);
			ends++;
		}
		guest_asks();
		store_ring_serve(&s, &guest.page, &store, c);
		in_step = guest_hears();
	}
	ok(in_step && guest.answered > 2000, "%u requests, each answered once, by %u dom0s",
	   guest.answered, ends);
	ok(guest.eio && guest.eio < guest.answered / 10, "... %u of them with EIO", guest.eio);
	store_end(&store);
	is_u64(alive, 0, "all memory is given back");
}

int
main(void)
{
	serial();
	anything();
	ring();
	hand_over();
	return done_testing();
}

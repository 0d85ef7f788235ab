/*
 * The store (xenstored): a tree of small values, which domains read, write and watch, by requests
 * and answers in the words of io/xs_wire.h. How the messages come and go is somebody else's affair
 * (store_ring.h). Pure: memory comes from store_alloc() (tree.h), out of the share of the domain
 * whose a node is, or that asks, or hears, and may be gone at any time.
 *
 * Who asks is not trusted: each request is any bytes at all.
 */
#pragma once

#include <stdbool.h>

#include <guest/dom0/tree.h>
#include <inc/xen_rings.h>

/* What one domain may have at a time; dom0 as much as there is. */
#define STORE_NODES        1000u
#define STORE_VALUE        2048u /* bytes of each */
#define STORE_WATCHES      64u
#define STORE_TOKEN        512u
#define STORE_TRANSACTIONS 8u
#define STORE_TOUCHED      256u  /* paths of a transaction */
#define STORE_EVENTS       1024u /* that it has not read yet; more end its connection */

struct store_watch {
	struct store_watch *next;
	unsigned skip; /* of each path: it has named it from its own place on */
	char *token;   /* behind the path */
	char path[];
};

/* A path that a transaction has to do with. */
enum store_touch_kind { STORE_LOOKED, STORE_LISTED, STORE_SET, STORE_REMOVED };
struct store_touch {
	struct store_touch *next;
	enum store_touch_kind kind;
	char path[];
};

struct store_transaction {
	struct store_transaction *next;
	uint32_t id;
	bool doomed; /* it can't succeed any more: a domain has ended, or needs its memory */
	struct store_tree base, tree;
	struct store_touch *first, **end;
	unsigned touched;
};

/* An answer, or an event, on its way: head.len bytes. */
struct store_message {
	struct store_message *next;
	const struct store_watch *of; /* NULL: an answer */
	struct xen_xsd_sockmsg head;
	char bytes[];
};

/* Somebody who asks: a domain, or a part of dom0's. */
struct store_client {
	struct store_client *next;
	uint16_t domid;
	bool broken; /* hears nothing any more */
	uint32_t last_transaction;
	struct store_watch *watches;
	struct store_transaction *transactions;
	struct store_message *first, **end;
	unsigned events, answers; /* among these messages */
};

struct store {
	struct store_tree tree;
	uint64_t generation; /* the last one that a node got */
	struct store_client *clients;
	/* of the request that is being answered */
	char path[XEN_STORE_ABS_PATH + 1];
	char answer[XEN_STORE_PAYLOAD];
};

int store_init(struct store *s); /* 0 or -ENOMEM */
void store_end(struct store *s);

/* A domain is there, and may ask (NULL: no memory); it is no more: its requests, and its nodes. */
struct store_client *store_introduce(struct store *s, uint16_t domid);
void store_release(struct store *s, struct store_client *c);

/*
 * A request, whose payload is head.len bytes, XEN_STORE_PAYLOAD at most. A broken client hears
 * nothing of it.
 */
void store_request(struct store *s, struct store_client *c, const struct xen_xsd_sockmsg *head,
		   const char *payload);
/* One that is known by its head alone: the answer is EIO. */
void store_lost(struct store *s, struct store_client *c, const struct xen_xsd_sockmsg *head);
/* The first message has been sent. */
void store_sent(struct store_client *c);

/* ---- what the files share ---- */

/* What somebody asks, as the tables of store.c take it. */
struct store_ask {
	struct store *store;
	struct store_client *client;
	struct store_transaction *transaction; /* NULL: it is in none */
	struct store_tree *tree;               /* the transaction's, or the store's */
	const char *payload;
	size_t len;
	const char *rest; /* of the payload, behind the path */
	size_t rest_len;
	const struct store_watch *begun; /* by this request; NULL: none */
};

/* store.c. Whether this one may do this there: 0, -EACCES. */
int store_allowed(const struct store_node *n, uint16_t domid, unsigned may);
/* A path as somebody gives it, to store->path: 0, -EINVAL. */
int store_path(struct store *s, uint16_t domid, const char *given, size_t len);
int store_done(struct store_ask *a); /* the answer "OK" */
/* The payload up to its first NUL, to store->path; `rest` is behind it: 0, -EINVAL. */
int store_take_path(struct store_ask *a);
/* The node at store->path, or that it names, if this one may do this there: 0, or an error. */
int store_find(struct store_ask *a, unsigned may, const struct store_node **n);
int store_look(struct store_ask *a, const struct store_node **n);
/* A changed copy of the tree is the tree from now on, unless err: what store_done() says, or it. */
int store_commit(struct store_ask *a, struct store_tree *changed, int err,
		 enum store_touch_kind kind);

/* perms.c */
int store_get_perms(struct store_ask *a);
int store_set_perms(struct store_ask *a);

/* clients.c */
void store_say(struct store *s, struct store_client *c, const struct store_message *m,
	       const char *bytes);

/* watch.c. A node has changed, or was removed: `before` is the tree in which it was. */
void store_fire(struct store *s, const struct store_tree *before, const char *path, bool removed);
void store_fire_special(struct store *s, const char *name);
void store_watch_begins(struct store *s, struct store_client *c, const struct store_watch *w);
void store_forget_watches(struct store_client *c);
int store_watch(struct store_ask *a);
int store_unwatch(struct store_ask *a);
int store_reset_watches(struct store_ask *a);

/* transaction.c */
int store_touch(struct store_ask *a, enum store_touch_kind kind, const char *path);
int store_transaction_start(struct store_ask *a);
int store_transaction_end(struct store_ask *a);
void store_transaction_drop(struct store_client *c, struct store_transaction *t);
/* This one needs memory: whether others' transactions have let go of some. */
bool store_reclaim(struct store *s, const struct store_client *c);

/*
 * The store, as a guest asks it (io/xs_wire.h): one request at a time, which waits for its answer.
 * What comes meanwhile because of a watch is kept.
 *
 * Paths are absolute, or from the domain's own place on. Errors are the store's, negated; -EIO:
 * it answers what was not asked, or too much, and is asked no more.
 */
#pragma once

#include <guest/pv/lib/events.h>
#include <inc/errno.h>
#include <inc/xen_rings.h>

#define XENBUS_PATH    80u /* bytes of one of ours, its NUL, too */
#define XENBUS_WATCHES 8u

struct xenbus {
	volatile struct xen_store_ring *ring;
	uint32_t request; /* the last one's number */
	bool broken;
	uint32_t len; /* of the answer, which has a NUL behind it */
	char answer[XEN_STORE_PAYLOAD + 1];
	char token[XENBUS_WATCHES][16]; /* of events that nobody has taken yet; empty: none */
};

/* With events (lib/events.h) begun. False: there is no store. */
bool xenbus_begin(struct xenbus *x);

/* The answer is in x->answer. `tx`: 0, or what xenbus_start() says. */
int xenbus_read(struct xenbus *x, uint32_t tx, const char *dir, const char *key);
int xenbus_list(struct xenbus *x, const char *dir); /* names, each with a NUL */
int xenbus_write(struct xenbus *x, uint32_t tx, const char *dir, const char *key,
		 const char *value);
int xenbus_remove(struct xenbus *x, uint32_t tx, const char *path);

/* A decimal number; -EINVAL: there is something else. */
int xenbus_read_number(struct xenbus *x, uint32_t tx, const char *dir, const char *key,
		       uint64_t *number);
int xenbus_write_number(struct xenbus *x, uint32_t tx, const char *dir, const char *key,
			uint64_t number);

/* All that is done with this tx is done at once, or, by -EAGAIN of its end, not at all. */
int xenbus_start(struct xenbus *x, uint32_t *tx);
int xenbus_end(struct xenbus *x, uint32_t tx, bool commit);

/* A token has 15 characters at most, and is known to nobody else. Its first event comes at once. */
int xenbus_watch(struct xenbus *x, const char *path, const char *token);
int xenbus_unwatch(struct xenbus *x, const char *path, const char *token);
/* Whether an event with this token has come since it was last asked. Waits for nothing. */
bool xenbus_heard(struct xenbus *x, const char *token);

/* Until one of these ports has an event, or that time has come (0: never): then none has any. */
void pv_wait(const uint32_t *ports, unsigned count, uint64_t until);

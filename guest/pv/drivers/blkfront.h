/*
 * A disk that another domain has: the front end. Requests go out in any number up to the ring's,
 * and wait for their answers by events. If the back end goes and another one comes, what was not
 * answered is asked of the new one.
 *
 * The other end is not trusted: what it says in the ring is read once, and answers nothing that
 * was not asked.
 */
#pragma once

#include <guest/pv/drivers/refs.h>
#include <guest/pv/drivers/ring.h>
#include <guest/pv/drivers/states.h>
#include <guest/pv/drivers/xenbus.h>

#define BLK_SECTORS 80u /* of a request, at most: they lie in eleven pages, however they begin */

struct blk_slot {
	bool used, done;
	int16_t status; /* of one that is done: enum xen_blkif_rsp */
	struct xen_blkif_request request;
};

struct blkfront {
	struct xenbus *bus;
	struct refs *refs;
	struct xen_blkif_page *page; /* the caller's: a page of its own */
	char here[40], there[XENBUS_PATH], token[16];
	uint64_t vdev, peer; /* its number; whose back end it is */
	enum xen_xenbus_state mine;
	uint32_t port, page_ref; /* 0: none */
	struct ring_front ring;
	uint64_t sectors; /* of 512 bytes */
	bool readonly, can_flush;
	bool lies;           /* the other end's ring was nonsense: it is not asked any more */
	unsigned times;      /* that it was connected */
	uint64_t sent, rung; /* events to the other end; sleeps that one from it has ended */
	struct blk_slot slot[XEN_BLKIF_RING];
};

/*
 * The disk device/vbd/NAME, or the first there is, if name is NULL. 0: it is known, and comes by
 * and by; -ENOENT: there is none; -EINVAL: one of its names is too long.
 */
int blk_begin(struct blkfront *b, struct xenbus *bus, struct refs *refs,
	      struct xen_blkif_page *page, const char *name);
/* Does what there is to do, and waits for nothing. Whether something was done. */
bool blk_serve(struct blkfront *b);
/* Until it is connected, or closed (-ENODEV). */
int blk_connect(struct blkfront *b);
/* It is closed; what was asked and not answered is forgotten. */
void blk_end(struct blkfront *b);

/*
 * A request's number, by which it is waited for. `at` is a multiple of 512. -EAGAIN: the ring is
 * full, or no grant is free; -EINVAL: it is no such request; -ENODEV: the other end is not to be
 * trusted any more. One that has gone is waited for: another one may come.
 */
int blk_ask(struct blkfront *b, enum xen_blkif_op op, uint64_t sector, const void *at,
	    unsigned sectors);
/* The back end sees what was asked up to now. */
void blk_push(struct blkfront *b);
/* 0; -EIO: it could not be done; -EOPNOTSUPP: nor can it; -ENODEV, as above. */
int blk_wait(struct blkfront *b, int request);

/* Both together. */
int blk_do(struct blkfront *b, enum xen_blkif_op op, uint64_t sector, const void *at,
	   unsigned sectors);

/* ---- between blkfront.c and blkask.c ---- */

/* What was granted for a request is so no more. */
void blk_let_go(struct blkfront *b, const struct xen_blkif_request *r);
/* What is in the slot goes to the ring's next place. */
void blk_put(struct blkfront *b, const struct blk_slot *s);
/* r, which has no segment yet, gets a buffer's. 0; -EAGAIN: there are not enough grants. */
int blk_grant(struct blkfront *b, struct xen_blkif_request *r, const void *at, unsigned sectors);
/* The answers that there are: whether there were some. */
bool blk_take(struct blkfront *b);
/* On a new ring: what was asked, and not answered, is put there. */
void blk_again(struct blkfront *b);

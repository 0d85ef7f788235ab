/*
 * Disks that dom0 has for others: files of its RAM disk, or drives (media.h), each behind a ring of
 * its own.
 *
 * Who is at the other end is not trusted. A request is copied out of the ring before anything of it
 * is looked at, and what it names is granted by that domain, or refused by Zeno: dom0 never has a
 * page of its data mapped.
 */
#pragma once

#include <guest/dom0/backend.h>
#include <guest/dom0/disk.h>
#include <guest/dom0/media.h>
#include <guest/pv/drivers/ring.h>

#define VBDS 32u

struct vbd {
	union {
		struct backend back;
		struct domu *of; /* its first: whose; NULL: none */
	};
	struct disk disk;
	struct file file;
	struct medium medium; /* in place of the file, if it is there */
	uint64_t sectors;
	volatile struct xen_blkif_page *page; /* NULL: no ring is mapped */
	uint32_t handle, port;
	struct ring_back ring;
	uint64_t asked, rung; /* requests; events that were sent */
};
extern struct vbd vbds[VBDS];

/* blkback.c. Whether there was something to do. */
extern const struct backend_kind blkback;
bool blkback_serve(struct vbd *v);
void blkback_answer(struct vbd *v, const struct xen_blkif_request *r, enum xen_blkif_rsp status);

/*
 * blktake.c (Lab 9B). So many of the ring's requests, at most, are served, each by
 * blk_serve_parts() or medium_begin(), and those of a file answered. How many; RING_LIES.
 */
uint32_t blk_serve_requests(struct vbd *v, uint32_t most);
/* An answer is in the ring, and not pushed. */
void blk_put_answer(struct vbd *v, const struct xen_blkif_request *r, enum xen_blkif_rsp status);

/*
 * blkserve.c (Lab 9B), for a request that is dom0's own copy, and not indirect: what its response
 * says, of a disk that is a file.
 */
enum xen_blkif_rsp blkserve(const struct vbd *v, const struct xen_blkif_request *r);
/* Whether it may be: what is answered if all goes well, or why not. */
enum xen_blkif_rsp blk_may(const struct vbd *v, const struct xen_blkif_request *r);
/* How many sectors are to be read or written; 0: it is no request that this disk can do. */
uint64_t blk_sectors(const struct vbd *v, const struct xen_blkif_request *r);
/*
 * Where a byte of a disk is, in dom0's memory, and all behind it up to that page's end; NULL: there
 * is no memory for what is to be written.
 */
typedef uint8_t *blk_where_fn(const struct vbd *v, uint64_t at, bool write);
/* A request that may be is done, between grants and what `where` says. */
enum xen_blkif_rsp blk_move(const struct vbd *v, const struct xen_blkif_request *r,
			    blk_where_fn *where);

/* blkbelow.c. What is below it is known; or why there is nothing. Two have some of the same. */
const char *vbd_below(struct vbd *v);
bool vbd_is_shared(const struct vbd *a, const struct vbd *b);

/* driven.c: disks that another domain serves. As those of vbds.c. */
const char *driven_attach(struct domu *u, const struct disk *d);

/* vbds.c */
void vbd_free(struct vbd *v); /* with all that the store has of it */

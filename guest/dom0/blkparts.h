/*
 * A request in parts of as many segments as the ring's entry has room for: most are one part, and
 * an indirect one, whose segments lie in a page that the other end grants, may be three.
 */
#pragma once

#include <stdbool.h>

#include <inc/xen_block.h>

#define BLK_MOST 32u /* segments; the store says so */

struct vbd;
struct blk_parts {
	struct xen_blkif_request next; /* what the next part begins with */
	unsigned count, done;          /* segments */
	bool over;
	struct xen_blkif_segment seg[BLK_MOST] __attribute__((aligned(256))); /* in one page */
};

/* blktake.c (Lab 9B). p->next is the request, and p->count 0; false: there are no such segments. */
bool blk_unfold(struct blk_parts *p, const struct vbd *v, const struct xen_blkif_indirect *i);
/* False: it is indirect, and its segments can't be had. Each is read once. */
bool blk_divide(struct blk_parts *p, const struct vbd *v, const struct xen_blkif_request *r);
/* The next part; false: there is none. What is wrong with one is for whoever serves it to see. */
bool blk_part(struct blk_parts *p, struct xen_blkif_request *part);

/* All parts, one behind the other, as far as they can be served. */
typedef enum xen_blkif_rsp blk_serve_fn(const struct vbd *v, const struct xen_blkif_request *r);
enum xen_blkif_rsp blk_serve_parts(const struct vbd *v, const struct xen_blkif_request *r,
				   blk_serve_fn *serve);

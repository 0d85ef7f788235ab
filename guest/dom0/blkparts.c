/*
 * A request in parts: blkparts.h.
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/blkparts.h>

_Static_assert(BLK_MOST * sizeof(struct xen_blkif_segment) <= 256, "they lie in one page");

bool
blk_divide(struct blk_parts *p, const struct vbd *v, const struct xen_blkif_request *r)
{
	p->next = *r;
	p->count = p->done = 0;
	p->over = false;
	return r->operation != XEN_BLKIF_OP_INDIRECT || blk_unfold(p, v, (const void *)r);
}

bool
blk_part(struct blk_parts *p, struct xen_blkif_request *part)
{
	unsigned n = 0;

	if (p->over)
		return false;
	*part = p->next;
	if (!p->count) { /* all of it stands in the entry */
		p->over = true;
		return true;
	}
	for (; n < XEN_BLKIF_SEGMENTS && p->done < p->count; n++, p->done++) {
		part->seg[n] = p->seg[p->done];
		p->next.sector_number += part->seg[n].last_sect - part->seg[n].first_sect + 1u;
	}
	part->nr_segments = (uint8_t)n;
	p->over = p->done == p->count;
	return true;
}

enum xen_blkif_rsp
blk_serve_parts(const struct vbd *v, const struct xen_blkif_request *r, blk_serve_fn *serve)
{
	static struct blk_parts parts;
	struct xen_blkif_request part;
	enum xen_blkif_rsp status = XEN_BLKIF_RSP_ERROR;

	if (r->operation != XEN_BLKIF_OP_INDIRECT) /* as most are: the entry is not copied */
		return serve(v, r);
	if (!blk_divide(&parts, v, r))
		return status;
	while (blk_part(&parts, &part)) {
		status = serve(v, &part);
		if (status != XEN_BLKIF_RSP_OKAY)
			break;
	}
	return status;
}

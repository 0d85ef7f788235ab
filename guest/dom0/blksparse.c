/*
 * What is asked of a disk that is a sparse file: a page of it may be nowhere, or anywhere.
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/sparse.h>
#include <guest/pv/lib/grants.h>

#define PAGE   4096u
#define COPIES (2 * XEN_BLKIF_SEGMENTS) /* a page of the other end's may lie in two of the file's */

struct copies {
	unsigned count;
	struct xen_gnttab_copy of[COPIES];
};

/* So many bytes of a page of the other end's, as far as a page of the file's goes; 0: no memory. */
static unsigned
add(struct copies *c, const struct vbd *v, bool write, struct xen_gnttab_copy_ptr theirs,
    uint64_t at, unsigned len)
{
	unsigned offset = (unsigned)(at % PAGE);
	uint8_t *page = sparse_page(v->medium.sparse, at, write);
	struct xen_gnttab_copy_ptr ours;

	if (!page)
		return 0;
	ours = pv_own(page + offset);
	if (len > PAGE - offset)
		len = PAGE - offset;
	c->of[c->count++] = (struct xen_gnttab_copy){
		.source = write ? theirs : ours,
		.dest = write ? ours : theirs,
		.len = (uint16_t)len,
		.flags = write ? XEN_GNTCOPY_source_gref : XEN_GNTCOPY_dest_gref,
	};
	return len;
}

static enum xen_blkif_rsp
move(const struct vbd *v, const struct xen_blkif_request *r)
{
	bool write = r->operation == XEN_BLKIF_OP_WRITE;
	uint64_t at = r->sector_number * XEN_BLKIF_SECTOR;
	struct copies c = { .count = 0 };

	for (unsigned n = 0; n < r->nr_segments; n++) {
		unsigned offset = r->seg[n].first_sect * XEN_BLKIF_SECTOR;
		unsigned end = (r->seg[n].last_sect + 1u) * XEN_BLKIF_SECTOR, len;

		for (; offset < end; offset += len, at += len) {
			len = add(&c, v, write,
				  pv_granted((uint16_t)v->of->id, r->seg[n].gref, offset), at,
				  end - offset);
			if (!len)
				return XEN_BLKIF_RSP_ERROR;
		}
	}
	if (pv_grant_op(XEN_GNTTABOP_copy, c.of, c.count))
		return XEN_BLKIF_RSP_ERROR;
	for (unsigned n = 0; n < c.count; n++)
		if (c.of[n].status)
			return XEN_BLKIF_RSP_ERROR;
	return XEN_BLKIF_RSP_OKAY;
}

static enum xen_blkif_rsp
discard(const struct vbd *v, const struct xen_blkif_request *r)
{
	const struct xen_blkif_discard *d = (const void *)r;

	if (d->sector_number > v->sectors || d->nr_sectors > v->sectors - d->sector_number)
		return XEN_BLKIF_RSP_ERROR;
	sparse_discard(v->medium.sparse, d->sector_number * XEN_BLKIF_SECTOR,
		       d->nr_sectors * XEN_BLKIF_SECTOR);
	return XEN_BLKIF_RSP_OKAY;
}

enum xen_blkif_rsp
sparse_serve(const struct vbd *v, const struct xen_blkif_request *r)
{
	switch (r->operation) {
	case XEN_BLKIF_OP_READ:
	case XEN_BLKIF_OP_WRITE:
		return move(v, r);
	case XEN_BLKIF_OP_DISCARD:
		return discard(v, r);
	default: /* a flush: what is written is there */
		return XEN_BLKIF_RSP_OKAY;
	}
}

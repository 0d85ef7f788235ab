/*
 * What is asked of a disk that is a sparse file: a page of it may be nowhere, or anywhere.
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/sparse.h>

static uint8_t *
in_file(const struct vbd *v, uint64_t at, bool write)
{
	uint8_t *page = sparse_page(v->medium.sparse, at, write);

	return page ? page + at % 4096 : NULL;
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
		return blk_move(v, r, in_file);
	case XEN_BLKIF_OP_DISCARD:
		return discard(v, r);
	default: /* a flush: what is written is there */
		return XEN_BLKIF_RSP_OKAY;
	}
}

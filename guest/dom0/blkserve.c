/*
 * What is asked of a disk: whether it may be, and the copies. What is asked is a copy of our own.
 */
#include <guest/dom0/blkback.h>
#include <guest/pv/lib/grants.h>

#define PAGE     4096u
#define PER_PAGE (PAGE / XEN_BLKIF_SECTOR)

/* A file lies as it likes: a page of the other end's may lie in two of ours. */
#define COPIES (2 * XEN_BLKIF_SEGMENTS)
struct copies {
	unsigned count;
	struct xen_gnttab_copy of[COPIES];
};

/* How many sectors; 0: it is no request that this disk can do. */
static uint64_t
sectors_of(const struct vbd *v, const struct xen_blkif_request *r)
{
	uint64_t all = 0;

	if (r->nr_segments > XEN_BLKIF_SEGMENTS)
		return 0;
	for (unsigned n = 0; n < r->nr_segments; n++) {
		const struct xen_blkif_segment *s = &r->seg[n];

		if (s->first_sect > s->last_sect || s->last_sect >= PER_PAGE)
			return 0;
		all += s->last_sect - s->first_sect + 1u;
	}
	return r->sector_number > v->sectors || all > v->sectors - r->sector_number ? 0 : all;
}

/* So many bytes between a grant, from there on, and our memory, as far as a page of that goes. */
static unsigned
copy(struct copies *c, const struct vbd *v, bool write, uint32_t ref, unsigned offset,
     const uint8_t *at, unsigned len)
{
	unsigned left = PAGE - (unsigned)((uint64_t)at % PAGE);
	struct xen_gnttab_copy_ptr theirs = pv_granted((uint16_t)v->of->id, ref, offset);
	struct xen_gnttab_copy_ptr ours = pv_own(at);

	if (len > left)
		len = left;
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
	const uint8_t *at = v->file.bytes + r->sector_number * XEN_BLKIF_SECTOR;
	struct copies c = { .count = 0 };

	for (unsigned n = 0; n < r->nr_segments; n++) {
		const struct xen_blkif_segment *s = &r->seg[n];
		unsigned offset = s->first_sect * XEN_BLKIF_SECTOR;
		unsigned end = (s->last_sect + 1u) * XEN_BLKIF_SECTOR;

		while (offset < end) {
			unsigned len = copy(&c, v, r->operation == XEN_BLKIF_OP_WRITE, s->gref,
					    offset, at, end - offset);

			offset += len;
			at += len;
		}
	}
	if (pv_grant_op(XEN_GNTTABOP_copy, c.of, c.count))
		return XEN_BLKIF_RSP_ERROR;
	for (unsigned n = 0; n < c.count; n++)
		if (c.of[n].status)
			return XEN_BLKIF_RSP_ERROR;
	return XEN_BLKIF_RSP_OKAY;
}

enum xen_blkif_rsp
blkserve(const struct vbd *v, const struct xen_blkif_request *r)
{
	switch (r->operation) {
	case XEN_BLKIF_OP_WRITE:
		if (v->disk.readonly)
			return XEN_BLKIF_RSP_ERROR;
		/* fall through */
	case XEN_BLKIF_OP_READ:
		return sectors_of(v, r) ? move(v, r) : XEN_BLKIF_RSP_ERROR;
	case XEN_BLKIF_OP_FLUSH_DISKCACHE: /* what is written is there */
		return r->nr_segments ? XEN_BLKIF_RSP_ERROR : XEN_BLKIF_RSP_OKAY;
	default:
		return XEN_BLKIF_RSP_EOPNOTSUPP;
	}
}

/*
 * The back end of a disk (exercise 9.4): whether what is asked may be, and the copies. A request is
 * a copy of our own by now (blktake.c).
 */
#include <guest/dom0/blkback.h>
#include <guest/pv/drivers/exercise.h>
#include <guest/pv/lib/grants.h>

#define PAGE     4096u
#define PER_PAGE (PAGE / XEN_BLKIF_SECTOR)

/* EXERCISE 9.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 9.0 */

uint64_t
blk_sectors(const struct vbd *v, const struct xen_blkif_request *r)
{
	/*
	 * EXERCISE 9.4a: what may be asked
	 * Holds: how many sectors a request to read or write is about; 0, if there are none, or any
	 *  of it lies where its disk, its page, or the request itself has nothing.
	 * Beware: whoever asked has chosen every byte of it, and knows what your arithmetic does at
	 *  the end of its numbers.
	 * Manual: blkif.h "struct blkif_request", of Debian's libxen-dev; blkback.h.
	 * Tools: PER_PAGE, XEN_BLKIF_RING, XEN_BLKIF_SEGMENTS
	 * Hint: which of its numbers do you use as an index, as a length, in a sum?
	 * Hint: a disk of 100 sectors, two are asked from the 99th on, and then from the last one
	 *  of 2^64: what does your sum say?
	 * Hint: memcpy_from_user() checks `len <= end - start`, and not `start + len <= end`: only
	 *  one of the two can't go round.
	 * until then: (void)v; (void)r; return 0;
	 */
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
	/* END EXERCISE 9.4a */
}

enum xen_blkif_rsp
blk_move(const struct vbd *v, const struct xen_blkif_request *r, blk_where_fn *where)
{
	/*
	 * EXERCISE 9.4b: the copies
	 * Holds: each byte that is asked for has gone between the front end's page and where
	 *  `where` says, once, the way that was asked; no other has; by one hypercall. If not all
	 *  could be done, the answer says so.
	 * Beware: neither end of a copy goes beyond its page; a page of theirs may lie in two of
	 *  ours. A grant may be none.
	 * Manual: grant_table.h "GNTTABOP_copy", of Debian's libxen-dev; blkback.h.
	 * Tools: PAGE, pv_grant_op(), pv_granted(), pv_map_grant(), pv_own(), XEN_BLKIF_SECTOR,
	 *  XEN_BLKIF_SEGMENTS, xen_gnttab_copy
	 * Hint: how many copies can a request need, at most?
	 * Hint: two rulers, one above the other, each with marks of its own: cut at every mark.
	 * Hint: readv() says how much it has read; who asks for two parts and looks at the first
	 *  one's answer alone knows nothing of the second.
	 * until then: (void)v; (void)r; (void)where; return XEN_BLKIF_RSP_ERROR;
	 */
	struct xen_gnttab_copy c[2 * XEN_BLKIF_SEGMENTS];
	uint64_t at = r->sector_number * XEN_BLKIF_SECTOR;
	bool write = r->operation == XEN_BLKIF_OP_WRITE;
	unsigned count = 0;

	for (unsigned n = 0; n < r->nr_segments; n++) {
		unsigned offset = r->seg[n].first_sect * XEN_BLKIF_SECTOR;
		unsigned end = (r->seg[n].last_sect + 1u) * XEN_BLKIF_SECTOR, len;

		for (; offset < end; offset += len, at += len) {
			uint8_t *ours = where(v, at, write);
			struct xen_gnttab_copy_ptr theirs =
				pv_granted((uint16_t)v->of->id, r->seg[n].gref, offset);

			if (!ours)
				return XEN_BLKIF_RSP_ERROR;
			len = PAGE - (unsigned)((uint64_t)ours % PAGE);
			len = len < end - offset ? len : end - offset;
			c[count].source = write ? theirs : pv_own(ours);
			c[count].dest = write ? pv_own(ours) : theirs;
			c[count].len = (uint16_t)len;
			c[count++].flags = write ? XEN_GNTCOPY_source_gref : XEN_GNTCOPY_dest_gref;
		}
	}
	if (pv_grant_op(XEN_GNTTABOP_copy, c, count))
		return XEN_BLKIF_RSP_ERROR;
	for (unsigned n = 0; n < count; n++)
		if (c[n].status)
			return XEN_BLKIF_RSP_ERROR;
	return XEN_BLKIF_RSP_OKAY;
	/* END EXERCISE 9.4b */
}

enum xen_blkif_rsp
blk_may(const struct vbd *v, const struct xen_blkif_request *r)
{
	/*
	 * EXERCISE 9.4c: what is answered
	 * Holds: the answer to a request that goes well, if it may be done; and otherwise one that
	 *  says which it is: it can't be done as it is asked, or there is no such operation here.
	 * Beware: some disks are to be read alone. A flush has no segments, or can't be done. Who
	 *  knows an operation that you don't goes by your answer, and asks otherwise then.
	 * Manual: blkif.h "REQUEST CODES", "STATUS RETURN CODES", of Debian's libxen-dev.
	 * Tools: blk_sectors(), pv_copy_grant(), xen_blkif_rsp
	 * Hint: three answers, and eight bits of operations: who gets which?
	 * Hint: a library: a book that is lent, a book that they have never had, and a room where
	 *  nobody may write into books.
	 * Hint: a system call that a kernel does not have is ENOSYS, and not EINVAL: the C library
	 *  tries an older one then.
	 * until then: (void)v; (void)r; return XEN_BLKIF_RSP_ERROR;
	 */
	switch (r->operation) {
	case XEN_BLKIF_OP_WRITE:
		if (v->disk.readonly)
			return XEN_BLKIF_RSP_ERROR;
		/* fall through */
	case XEN_BLKIF_OP_READ:
		return blk_sectors(v, r) ? XEN_BLKIF_RSP_OKAY : XEN_BLKIF_RSP_ERROR;
	case XEN_BLKIF_OP_FLUSH_DISKCACHE:
		return r->nr_segments ? XEN_BLKIF_RSP_ERROR : XEN_BLKIF_RSP_OKAY;
	default:
		return XEN_BLKIF_RSP_EOPNOTSUPP;
	}
	/* END EXERCISE 9.4c */
}

/* Of a file of the ramdisk. */
static uint8_t *
in_file(const struct vbd *v, uint64_t at, bool write)
{
	return (uint8_t *)(uint64_t)v->file.bytes + at;
}

/* What is written is there at once: a flush is done. */
enum xen_blkif_rsp
blkserve(const struct vbd *v, const struct xen_blkif_request *r)
{
	enum xen_blkif_rsp status = blk_may(v, r);

	if (status != XEN_BLKIF_RSP_OKAY || r->operation == XEN_BLKIF_OP_FLUSH_DISKCACHE)
		return status;
	return blk_move(v, r, in_file);
}

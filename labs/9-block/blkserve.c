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
	 */
	exercise_todo("9.4", "handouts/lab9b.md#ex-9-4");
	(void)v;
	(void)r;
	return 0;
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
	 */
	exercise_todo("9.4", "handouts/lab9b.md#ex-9-4");
	(void)v;
	(void)r;
	(void)where;
	return XEN_BLKIF_RSP_ERROR;
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
	 */
	exercise_todo("9.4", "handouts/lab9b.md#ex-9-4");
	(void)v;
	(void)r;
	return XEN_BLKIF_RSP_ERROR;
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

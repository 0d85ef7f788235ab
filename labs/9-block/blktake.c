/*
 * The back end's side of the ring (exercise 9.5): how a request comes out of a page that somebody
 * else writes into, and what its answer says.
 */
#include <guest/dom0/blkback.h>
#include <guest/dom0/blkparts.h>
#include <guest/pv/drivers/exercise.h>
#include <guest/pv/lib/grants.h>

/* EXERCISE 9.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 9.0 */

uint32_t
blk_serve_requests(struct vbd *v, uint32_t most)
{
	/*
	 * EXERCISE 9.5a: what is taken
	 * Holds: the oldest requests there, `most` at most, are taken whole and served in order,
	 *  and how many is returned; those of a file are answered by then, not pushed.
	 *  RING_LIES: nothing is looked at. After 0, unless the medium is busy, the next one rings.
	 * Beware: the front end writes into a request while you read it, while you serve it, and
	 *  when you answer it.
	 * Manual: ring.h of guest/pv/drivers; blkback.h, media.h, blkparts.h.
	 * Tools: blk_put_answer(), blk_serve_parts(), blkserve(), medium_begin(), medium_busy(),
	 *  ring_last_requests(), ring_push_responses(), XEN_BLKIF_RING
	 */
	exercise_todo("9.5", "handouts/lab9b.md#ex-9-5");
	(void)v;
	(void)most;
	return 0;
	/* END EXERCISE 9.5a */
}

void
blk_put_answer(struct vbd *v, const struct xen_blkif_request *r, enum xen_blkif_rsp status)
{
	/*
	 * EXERCISE 9.5b: the answer
	 * Holds: the ring's next place for a response says whose it is, and how it went; nobody is
	 *  told yet. An indirect request's says the operation that was done by it.
	 * Beware: the place may be one where a request was. The front end reads all bytes of it,
	 *  not the fields alone. Answers come in the order in which things are done, which a drive
	 *  may change.
	 * Manual: blkif.h "struct blkif_response", of Debian's libxen-dev; inc/xen_block.h.
	 * Tools: blkback_answer(), memcpy(), xen_blkif_indirect, XEN_BLKIF_OP_INDIRECT,
	 *  xen_blkif_response, XEN_BLKIF_RING
	 */
	exercise_todo("9.5", "handouts/lab9b.md#ex-9-5");
	(void)v;
	(void)r;
	(void)status;
	/* END EXERCISE 9.5b */
}

bool
blk_unfold(struct blk_parts *p, const struct vbd *v, const struct xen_blkif_indirect *i)
{
	/*
	 * EXERCISE 9.5c: segments that lie elsewhere
	 * Holds: p has the segments of an indirect request, as many as it says, and the operation
	 *  that is to be done with them; or false. No more is read than it names.
	 * Beware: they lie in a page of the front end's, which it grants, and writes into.
	 * Manual: blkif.h "struct blkif_request_indirect", of Debian's libxen-dev; blkparts.h.
	 * Tools: BLK_MOST, pv_copy_grant(), pv_granted(), pv_map_grant(), pv_own(),
	 *  XEN_GNTCOPY_source_gref
	 */
	exercise_todo("9.5", "handouts/lab9b.md#ex-9-5");
	(void)p;
	(void)v;
	(void)i;
	return false;
	/* END EXERCISE 9.5c */
}

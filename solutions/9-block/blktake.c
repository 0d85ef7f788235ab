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
	 * Hint: how often do you read a byte of the page, from the check to the answer?
	 * Hint: a signed contract in two copies: yours is the one that counts.
	 * Hint: a system call that opens a file by a path checks and uses its own copy of the
	 *  path: the program's other thread can only change the program's.
	 * until then: (void)v; (void)most; return 0;
	 */
	uint32_t count = ring_last_requests(&v->ring), done = 0;

	if (count == RING_LIES)
		return RING_LIES;
	for (; done < count && done < most; done++) {
		struct xen_blkif_request r;

		if (v->medium.there && medium_busy(v))
			break;
		r = v->page->entry[v->ring.req_cons++ % XEN_BLKIF_RING].request;
		if (v->medium.there)
			medium_begin(v, &r);
		else
			blk_put_answer(v, &r, blk_serve_parts(v, &r, blkserve));
	}
	return done;
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
	 * Hint: which index says where, and whose word is the id?
	 * Hint: of a parcel that was opened the label says still who sent it.
	 * Hint: a reply to a mail has the mail's Message-ID, and not the number of the mailbox.
	 * until then: (void)v; (void)r; (void)status;
	 */
	const struct xen_blkif_indirect *i = (const void *)r;
	volatile struct xen_blkif_response *answer =
		&v->page->entry[v->ring.rsp_prod++ % XEN_BLKIF_RING].response;

	/* By fields: what lies between them is not ours to show (XSA-216). */
	answer->id = r->id;
	answer->operation = r->operation == XEN_BLKIF_OP_INDIRECT ? i->indirect_op : r->operation;
	answer->status = (int16_t)status;
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
	 * Hint: which two of its numbers can be anything, and what do you do with each?
	 * Hint: a list that says how long it is: a shelf of 32, and a list of 60,000.
	 * Hint: a DHCP option has a length byte; who copies by it into a field of 16 has an
	 *  advisory by name.
	 * until then: (void)p; (void)v; (void)i; return false;
	 */
	if (!i->nr_segments || i->nr_segments > BLK_MOST ||
	    (i->indirect_op != XEN_BLKIF_OP_READ && i->indirect_op != XEN_BLKIF_OP_WRITE))
		return false;
	p->count = i->nr_segments;
	p->next.operation = i->indirect_op;
	return !pv_copy_grant(pv_granted((uint16_t)v->of->id, i->grefs[0], 0), pv_own(p->seg),
			      p->count * (unsigned)sizeof(p->seg[0]), XEN_GNTCOPY_source_gref);
	/* END EXERCISE 9.5c */
}

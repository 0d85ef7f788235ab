/*
 * The front end of a disk (exercise 9.3): what it asks, and what it is answered.
 */
#include <guest/pv/drivers/blkfront.h>
#include <guest/pv/drivers/exercise.h>

#define PAGE         4096u
#define PAGE_SECTORS (PAGE / XEN_BLKIF_SECTOR)

/* EXERCISE 9.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 9.0 */

int
blk_grant(struct blkfront *b, struct xen_blkif_request *r, const void *at, unsigned sectors)
{
	/*
	 * EXERCISE 9.3a: a buffer becomes segments
	 * Holds: r has the buffer's sectors in order, each page in a segment with a grant of its
	 *  own; or -EAGAIN: there are not enough grants, and none of them has gone.
	 * Beware: the back end is granted what it needs and no more: which way do the bytes go? The
	 *  buffer begins at any sector of a page, and ends at any.
	 * Manual: blkif.h "blkif_request_segment", of Debian's libxen-dev.
	 * Tools: blk_let_go(), PAGE_SECTORS, refs_end(), refs_grant(), XEN_BLKIF_SECTOR
	 */
	exercise_todo("9.3", "handouts/lab9a.md#ex-9-3");
	(void)b;
	(void)r;
	(void)at;
	(void)sectors;
	return -EAGAIN;
	/* END EXERCISE 9.3a */
}

int
blk_ask(struct blkfront *b, enum xen_blkif_op op, uint64_t sector, const void *at, unsigned sectors)
{
	if (b->lies)
		return -ENODEV;
	if (sectors > BLK_SECTORS || (uint64_t)at % XEN_BLKIF_SECTOR)
		return -EINVAL;
	/*
	 * EXERCISE 9.3b: to ask
	 * Holds: a slot that was free has the request, whose id is the slot's number, which is
	 *  returned, and it is on the ring, not pushed yet; or -EAGAIN, and nothing has changed.
	 * Beware: the ring's page is the other end's, too: what must be known later is not kept
	 *  there. Where there is no back end now, it is asked when one comes.
	 * Manual: blkif.h "struct blkif_request", of Debian's libxen-dev; blkfront.h.
	 * Tools: blk_grant(), blk_put(), blk_slot, ring_fence(), ring_room(), XEN_BLKIF_RING
	 */
	exercise_todo("9.3", "handouts/lab9a.md#ex-9-3");
	(void)op;
	(void)sector;
	return -EAGAIN;
	/* END EXERCISE 9.3b */
}

bool
blk_take(struct blkfront *b)
{
	/*
	 * EXERCISE 9.3c: to be answered
	 * Holds: each response is in its slot, which is done, and its grants are ended. One to what
	 *  was not asked, or was answered, answers nothing, and b->lies from then on. Whether there
	 *  were any; if not, and no lie, the next one rings.
	 * Beware: the other end answers in any order, and writes into a response while you read it.
	 *  Behind a lie nothing of the ring is looked at.
	 * Manual: blkif.h "struct blkif_response", of Debian's libxen-dev.
	 * Tools: blk_let_go(), refs_end(), ring_last_responses(), RING_LIES, XEN_BLKIF_RING
	 */
	exercise_todo("9.3", "handouts/lab9a.md#ex-9-3");
	(void)b;
	return false;
	/* END EXERCISE 9.3c */
}

void
blk_again(struct blkfront *b)
{
	/*
	 * EXERCISE 9.3d: to ask another one
	 * Holds: on the ring, which is new and empty, is each request that has no answer yet, and
	 *  no other.
	 * Beware: the back end that had them has gone, and may have done all of them, some, or
	 *  none. Who asked waits still. A page that was granted to the old one is granted to this
	 *  one, too: it is the same domain's number.
	 * Manual: blkfront.h.
	 * Tools: blk_push(), blk_put(), blk_slot, XEN_BLKIF_RING
	 */
	exercise_todo("9.3", "handouts/lab9a.md#ex-9-3");
	(void)b;
	/* END EXERCISE 9.3d */
}

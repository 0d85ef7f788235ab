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
	 * Hint: to read a disk: who writes the page?
	 * Hint: five sectors from the sixth of a page on: which pages, which sectors of each?
	 * Hint: writev() splits by buffers, a disk's DMA list (PRD) by 64 KiB: a piece ends at the
	 *  border or at the end, whichever is nearer.
	 * until then: (void)b; (void)r; (void)at; (void)sectors; return -EAGAIN;
	 */
	uint64_t va = (uint64_t)at;

	while (sectors) {
		unsigned first = (unsigned)(va % PAGE / XEN_BLKIF_SECTOR);
		unsigned count = PAGE_SECTORS - first < sectors ? PAGE_SECTORS - first : sectors;
		uint32_t ref = refs_grant(b->refs, (uint16_t)b->peer, (const void *)va,
					  r->operation != XEN_BLKIF_OP_READ);

		if (!ref) {
			blk_let_go(b, r);
			return -EAGAIN;
		}
		r->seg[r->nr_segments++] =
			(struct xen_blkif_segment){ ref, (uint8_t)first,
						    (uint8_t)(first + count - 1) };
		sectors -= count;
		va += count * XEN_BLKIF_SECTOR;
	}
	return 0;
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
	 * Hint: which two things can there be too few of, besides grants?
	 * Hint: a cloakroom: a hook is free, and the ticket has the hook's number.
	 * Hint: a file descriptor is the lowest free place of a table, and open() that fails later
	 *  leaves the place free.
	 * until then: (void)op; (void)sector; return -EAGAIN;
	 */
	unsigned id = 0;
	int err;

	while (id < XEN_BLKIF_RING && b->slot[id].used)
		id++;
	if (id == XEN_BLKIF_RING || !ring_room(&b->ring))
		return -EAGAIN;
	b->slot[id] = (struct blk_slot){ .request = { .operation = (uint8_t)op,
						      .handle = (uint16_t)b->vdev,
						      .id = id,
						      .sector_number = sector } };
	err = blk_grant(b, &b->slot[id].request, at, sectors);
	if (err)
		return err;
	b->slot[id].used = true;
	if (b->mine == XEN_XENBUS_Connected) /* else when it is */
		blk_put(b, &b->slot[id]);
	return (int)id;
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
	 * Hint: whose word is the id, and what do you index with it?
	 * Hint: read the answer as you would a letter from a stranger: open it once.
	 * Hint: a DNS resolver: an answer counts only if its number is one that is asked and open.
	 * until then: (void)b; return false;
	 */
	uint32_t count = ring_last_responses(&b->ring);

	if (count == RING_LIES) {
		b->lies = true;
		return false;
	}
	for (uint32_t n = 0; n < count && !b->lies; n++) {
		volatile union xen_blkif_entry *e =
			&b->page->entry[b->ring.rsp_cons++ % XEN_BLKIF_RING];
		struct xen_blkif_response r = e->response;
		struct blk_slot *s = &b->slot[r.id % XEN_BLKIF_RING];

		b->lies = r.id >= XEN_BLKIF_RING || !s->used || s->done;
		if (b->lies)
			break;
		s->done = true;
		s->status = r.status;
		blk_let_go(b, &s->request);
	}
	return count != 0;
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
	 * Hint: in which states can a slot be, and which of them is waited for?
	 * Hint: what is on the old ring is lost. What is it that you have kept?
	 * Hint: an NFS client whose server comes back sends again what was not acknowledged.
	 * until then: (void)b;
	 */
	for (struct blk_slot *s = b->slot; s < b->slot + XEN_BLKIF_RING; s++)
		if (s->used && !s->done)
			blk_put(b, s);
	/* END EXERCISE 9.3d */
}

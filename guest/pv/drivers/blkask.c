/*
 * The front end of a disk: what it asks, and what it is answered.
 */
#include <guest/pv/drivers/blkfront.h>

#define PAGE 4096u

/* The pages of a buffer, each granted: to be written if the disk is read. */
static int
grant_segments(struct blkfront *b, struct xen_blkif_request *r, const void *at, unsigned sectors)
{
	uint64_t va = (uint64_t)at;

	while (sectors) {
		unsigned first = (unsigned)(va % PAGE / XEN_BLKIF_SECTOR);
		unsigned count = 8 - first < sectors ? 8 - first : sectors;
		uint32_t ref = refs_grant(b->refs, (uint16_t)b->peer, (const void *)va,
					  r->operation == XEN_BLKIF_OP_WRITE);

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
}

int
blk_ask(struct blkfront *b, enum xen_blkif_op op, uint64_t sector, const void *at, unsigned sectors)
{
	unsigned id = 0;
	int err;

	if (b->lies)
		return -ENODEV;
	if (sectors > BLK_SECTORS || (uint64_t)at % XEN_BLKIF_SECTOR)
		return -EINVAL;
	while (id < XEN_BLKIF_RING && b->slot[id].used)
		id++;
	if (id == XEN_BLKIF_RING || !ring_room(&b->ring))
		return -EAGAIN;
	b->slot[id] = (struct blk_slot){ .request = { .operation = (uint8_t)op,
						      .handle = (uint16_t)b->vdev,
						      .id = id,
						      .sector_number = sector } };
	err = grant_segments(b, &b->slot[id].request, at, sectors);
	if (err)
		return err;
	b->slot[id].used = true;
	if (b->mine == XEN_XENBUS_Connected) /* else when it is */
		blk_put(b, &b->slot[id]);
	return (int)id;
}

/* An answer to what was not asked answers nothing, and is a reason not to ask any more. */
static void
take(struct blkfront *b)
{
	volatile union xen_blkif_entry *e = &b->page->entry[b->ring.rsp_cons++ % XEN_BLKIF_RING];
	struct xen_blkif_response r = e->response;
	struct blk_slot *s = &b->slot[r.id % XEN_BLKIF_RING];

	if (r.id >= XEN_BLKIF_RING || !s->used || s->done) {
		b->lies = true;
		return;
	}
	s->done = true;
	s->status = r.status;
	blk_let_go(b, &s->request);
}

bool
blk_take(struct blkfront *b)
{
	uint32_t count = ring_last_responses(&b->ring);

	if (count == RING_LIES) {
		b->lies = true;
		return false;
	}
	for (uint32_t n = 0; n < count && !b->lies; n++)
		take(b);
	return count != 0;
}

void
blk_again(struct blkfront *b)
{
	for (struct blk_slot *s = b->slot; s < b->slot + XEN_BLKIF_RING; s++)
		if (s->used && !s->done)
			blk_put(b, s);
}

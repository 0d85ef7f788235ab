/*
 * BUILD: guest/dom0/backend.c guest/dom0/blkback.c guest/dom0/blkparts.c
 * solutions/9-block/blkserve.c solutions/9-block/blktake.c
 * solutions/9-block/states.c solutions/9-block/ring.c guest/pv/drivers/words.c
 */
/*
 * dom0's back end of a disk: requests of any bytes, which somebody changes while they are served.
 * Each is answered once, by what it was when it was taken; no copy leaves the file, nor a page of
 * the other end's.
 */
#include <string.h>

#include <guest/dom0/blkback.h>
#include <guest/dom0/blkparts.h>
#include <guest/pv/lib/grants.h>

#include "draw.h"
#include "tap.h"

#define SECTORS 100u
#define ROUNDS  200000u

/* ---- what dom0 has around it ---- */

struct vbd vbds[VBDS];
struct domu *attached;
const struct domu *speaker;
static struct domu them = { .id = 5, .name = "them" };
static uint8_t file[SECTORS * 512 + 8192];
static uint64_t front_state = 3;
static unsigned closed, bad;

const char backends_at[] = "";

void
vbd_free(struct vbd *v)
{
}

bool
daemon_read_number(const char *path, uint64_t *number)
{
	*number = strstr(path, "/state") ? front_state : 8;
	return true;
}

bool
daemon_read(const char *path, char *to, size_t size)
{
	return false;
}

bool
daemon_write(const char *path, const char *value)
{
	return true;
}

/* Of those that are no files there is none. */
bool
medium_busy(const struct vbd *v)
{
	return true;
}

void
medium_begin(struct vbd *v, const struct xen_blkif_request *r)
{
	bad++;
}

void
medium_forget(const struct vbd *v)
{
}

void
say(const char *fmt, ...)
{
	closed++;
}

void
shell_prompt(void)
{
}

int
pv_map_grant(void *va, uint16_t of, uint32_t ref, uint32_t flags, uint32_t *handle)
{
	return 0;
}

int
pv_unmap_grant(const void *va, uint64_t bus, uint32_t handle)
{
	return 0;
}

int64_t
pv_event_op(enum xen_evtchnop op, void *arg)
{
	if (op == XEN_EVTCHNOP_bind_interdomain)
		((struct xen_evtchn_bind_interdomain *)arg)->local_port = 9;
	return 0;
}

int64_t
pv_map(void *va, uint64_t entry)
{
	return 0;
}

uint64_t
pv_page(const void *va)
{
	return (uint64_t)va >> 12;
}

int64_t
pv_send(uint32_t port)
{
	return 0;
}

struct xen_gnttab_copy_ptr
pv_granted(uint16_t of, uint32_t ref, unsigned offset)
{
	return (struct xen_gnttab_copy_ptr){ ref, of, (uint16_t)offset };
}

struct xen_gnttab_copy_ptr
pv_own(const void *va)
{
	return (struct xen_gnttab_copy_ptr){ (uint64_t)va >> 12, XEN_DOMID_SELF,
					     (uint16_t)((uint64_t)va & 4095) };
}

/* ---- the other end ---- */

static struct xen_blkif_request asked; /* as it was when it was pushed */
static unsigned batches, longs;

static struct xen_blkif_segment listed[BLK_MOST]; /* in the page of an indirect one */
static bool unfolded;
static uint64_t copied; /* bytes */

static const struct xen_blkif_indirect *
indirect(void)
{
	return asked.operation == XEN_BLKIF_OP_INDIRECT ? (const void *)&asked : NULL;
}

/* Bytes of so many segments from a sector on; 0: they may not be. */
static uint64_t
allowed(uint64_t sector, unsigned count, const struct xen_blkif_segment *seg)
{
	uint64_t all = 0;

	for (unsigned n = 0; n < count; n++) {
		if (seg[n].first_sect > seg[n].last_sect || seg[n].last_sect > 7)
			return 0;
		all += seg[n].last_sect - seg[n].first_sect + 1u;
	}
	return sector <= SECTORS && all <= SECTORS - sector ? all * 512 : 0;
}

/* What an answer is to say, and how much is to be copied: an indirect one goes by elevens. */
static int
expected(bool readonly, uint64_t *bytes)
{
	const struct xen_blkif_indirect *i = indirect();
	unsigned op = i ? i->indirect_op : asked.operation, left = asked.nr_segments, some;
	const struct xen_blkif_segment *seg = i ? listed : asked.seg;

	*bytes = 0;
	if (i && (!i->nr_segments || i->nr_segments > BLK_MOST || op > XEN_BLKIF_OP_WRITE))
		return -1;
	if (op == XEN_BLKIF_OP_FLUSH_DISKCACHE)
		return left ? -1 : 0;
	if (op > XEN_BLKIF_OP_WRITE)
		return -2;
	if ((op == XEN_BLKIF_OP_WRITE && readonly) || (!i && left > XEN_BLKIF_SEGMENTS))
		return -1;
	if (i)
		left = i->nr_segments;
	do {
		uint64_t part;

		some = left < XEN_BLKIF_SEGMENTS ? left : XEN_BLKIF_SEGMENTS;
		part = allowed(asked.sector_number + *bytes / 512, some, seg);
		if (!part)
			return -1;
		*bytes += part;
		seg += some;
		left -= some;
	} while (left);
	return 0;
}

/* While dom0 is here, the ring is other bytes. */
static void
shake(void)
{
	for (unsigned n = 0; n < sizeof(vbds[0].page->entry); n += 1 + draw(40))
		((volatile uint8_t *)vbds[0].page->entry)[n] = (uint8_t)draw(256);
}

static void
unfold(struct xen_gnttab_copy *c, uint64_t count)
{
	const struct xen_blkif_indirect *i = indirect();

	unfolded = true;
	bad += count != 1 || c->source.what != i->grefs[0] || c->source.domid != them.id;
	bad += c->source.offset || c->dest.domid != XEN_DOMID_SELF ||
	       c->dest.offset + c->len > 4096 || c->len != i->nr_segments * sizeof(listed[0]) ||
	       c->len > sizeof(listed);
	memcpy((uint8_t *)(c->dest.what << 12) + c->dest.offset, listed, c->len);
	c->status = 0;
	shake();
}

int64_t
pv_grant_op(enum xen_gnttabop op, void *requests, uint64_t count)
{
	struct xen_gnttab_copy *c = requests;
	const struct xen_blkif_indirect *i = indirect();
	uint64_t from = (uint64_t)file + asked.sector_number * 512;
	bool write = (i ? i->indirect_op : asked.operation) == XEN_BLKIF_OP_WRITE;

	if (i && !unfolded) {
		unfold(c, count);
		return 0;
	}
	batches++;
	bad += !count || count > 2 * XEN_BLKIF_SEGMENTS;
	for (uint64_t n = 0; n < count; n++, c++) {
		struct xen_gnttab_copy_ptr theirs = write ? c->source : c->dest;
		struct xen_gnttab_copy_ptr ours = write ? c->dest : c->source;

		bad += ours.domid != XEN_DOMID_SELF || theirs.domid != them.id;
		bad += (ours.what << 12 | ours.offset) != from + copied;
		bad += c->len > 4096 || theirs.offset + c->len > 4096 ||
		       ours.offset + c->len > 4096;
		bad += c->flags != (write ? XEN_GNTCOPY_source_gref : XEN_GNTCOPY_dest_gref);
		copied += c->len;
		c->status = 0;
	}
	shake();
	return 0;
}

int
pv_copy_grant(struct xen_gnttab_copy_ptr from, struct xen_gnttab_copy_ptr to, unsigned len,
	      unsigned flags)
{
	struct xen_gnttab_copy c = {
		.source = from, .dest = to, .len = (uint16_t)len, .flags = (uint16_t)flags
	};

	return pv_grant_op(XEN_GNTTABOP_copy, &c, 1) || c.status;
}

static void
some_segments(struct xen_blkif_segment *seg, unsigned count, unsigned short_ones)
{
	for (unsigned n = 0; n < count && draw(40); n++) {
		seg[n].first_sect = (uint8_t)draw(8);
		seg[n].last_sect = (uint8_t)(seg[n].first_sect + draw(draw(20) ? short_ones : 9));
	}
}

static struct xen_blkif_request
any_request(void)
{
	struct xen_blkif_request r;

	for (unsigned n = 0; n < sizeof(r); n++)
		((uint8_t *)&r)[n] = (uint8_t)draw(256);
	if (draw(8))
		r.operation = (uint8_t)draw(8);
	if (draw(8))
		r.nr_segments = (uint8_t)draw(13);
	if (draw(8))
		r.sector_number = draw(SECTORS + 2);
	for (unsigned n = 0; n < sizeof(listed); n++)
		((uint8_t *)listed)[n] = (uint8_t)draw(256);
	some_segments(listed, BLK_MOST, 1);
	if (r.operation == XEN_BLKIF_OP_INDIRECT && draw(8)) {
		r.nr_segments = (uint8_t)draw(3); /* which is indirect_op */
		r.handle = (uint16_t)draw(35);    /* ... and nr_segments */
	} else {
		some_segments(r.seg, XEN_BLKIF_SEGMENTS, 2);
	}
	return r;
}

/* One request, and its answer. */
static void
round_of(struct vbd *v, struct ring_front *f)
{
	struct xen_blkif_response answer;
	uint64_t bytes;
	int status;

	asked = any_request();
	status = expected(v->disk.readonly, &bytes);
	unfolded = false;
	copied = 0;
	v->page->entry[f->req_prod++ % XEN_BLKIF_RING].request = asked;
	ring_push_requests(f);
	while (blkback_serve(v))
		;
	bad += ring_responses(f) != 1;
	answer = v->page->entry[f->rsp_cons++ % XEN_BLKIF_RING].response;
	bad += answer.id != asked.id ||
	       answer.operation != (indirect() ? indirect()->indirect_op : asked.operation);
	bad += answer.status != status || copied != bytes;
	longs += asked.operation == XEN_BLKIF_OP_INDIRECT && bytes > XEN_BLKIF_SEGMENTS * 512;
}

static void
requests(bool readonly)
{
	static volatile struct xen_blkif_page *page; /* once it is known */
	struct vbd *v = &vbds[0];
	struct ring_front f;

	if (page)
		ring_begin(&f, &page->ring, XEN_BLKIF_RING);
	*v = (struct vbd){ .back = { .of = &them,
				     .kind = &blkback,
				     .look = true,
				     .mine = XEN_XENBUS_InitWait },
			   .disk.readonly = readonly,
			   .file.bytes = file,
			   .sectors = SECTORS };
	bad = batches = 0;
	blkback_serve(v);
	page = v->page;
	ring_begin(&f, &page->ring, XEN_BLKIF_RING);
	for (unsigned n = 0; n < ROUNDS / 2; n++)
		round_of(v, &f);
	ok(v->back.mine == XEN_XENBUS_Connected && !bad && batches > 1000 && longs > 100,
	   "%u requests of any bytes, %s: %u are copied, and all answered by what they were",
	   ROUNDS / 2, readonly ? "to read" : "to read and write", batches);
	v->page->ring.req_prod = f.req_prod + 33;
	blkback_serve(v);
	ok(v->back.mine == XEN_XENBUS_Closed && !v->page && closed == 1,
	   "more requests than there is room: it is closed");
	closed = 0;
}

int
main(void)
{
	requests(false);
	requests(true);
	return done_testing();
}

/* BUILD: guest/dom0/blkback.c guest/dom0/blkserve.c guest/pv/drivers/states.c
 * guest/pv/drivers/ring.c guest/pv/drivers/words.c */
/*
 * dom0's back end of a disk: requests of any bytes, which somebody changes while they are served.
 * Each is answered once, by what it was when it was taken; no copy leaves the file, nor a page of
 * the other end's.
 */
#include <string.h>

#include <guest/dom0/blkback.h>
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

void
vbd_path(const struct vbd *v, bool back, const char *key, char *path, size_t size)
{
	snprintf(path, size, "%s", key);
}

void
vbd_free(struct vbd *v)
{
}

bool
daemon_read_number(const char *path, uint64_t *number)
{
	*number = !strcmp(path, "state") ? front_state : 8;
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
static unsigned batches;

/* How many bytes it may copy; 0: it may not. */
static uint64_t
allowed(void)
{
	uint64_t all = 0;

	if (asked.operation > XEN_BLKIF_OP_WRITE || asked.nr_segments > XEN_BLKIF_SEGMENTS)
		return 0;
	for (unsigned n = 0; n < asked.nr_segments; n++) {
		if (asked.seg[n].first_sect > asked.seg[n].last_sect || asked.seg[n].last_sect > 7)
			return 0;
		all += asked.seg[n].last_sect - asked.seg[n].first_sect + 1u;
	}
	return asked.sector_number <= SECTORS && all <= SECTORS - asked.sector_number ? all * 512
										      : 0;
}

/* While dom0 is here, the ring is other bytes. */
int64_t
pv_grant_op(enum xen_gnttabop op, void *requests, uint64_t count)
{
	struct xen_gnttab_copy *c = requests;
	uint64_t from = (uint64_t)file + asked.sector_number * 512, all = 0;
	bool write = asked.operation == XEN_BLKIF_OP_WRITE;

	batches++;
	bad += !count || count > 2 * XEN_BLKIF_SEGMENTS;
	for (uint64_t n = 0; n < count; n++, c++) {
		struct xen_gnttab_copy_ptr theirs = write ? c->source : c->dest;
		struct xen_gnttab_copy_ptr ours = write ? c->dest : c->source;

		bad += ours.domid != XEN_DOMID_SELF || theirs.domid != them.id;
		bad += (ours.what << 12 | ours.offset) != from + all;
		bad += c->len > 4096 || theirs.offset + c->len > 4096 ||
		       ours.offset + c->len > 4096;
		bad += c->flags != (write ? XEN_GNTCOPY_source_gref : XEN_GNTCOPY_dest_gref);
		all += c->len;
		c->status = 0;
	}
	bad += !all || all != allowed();
	for (unsigned n = 0; n < sizeof(vbds[0].page->entry); n += 1 + draw(40))
		((volatile uint8_t *)vbds[0].page->entry)[n] = (uint8_t)draw(256);
	return 0;
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
	for (unsigned n = 0; n < XEN_BLKIF_SEGMENTS && draw(40); n++) {
		r.seg[n].first_sect = (uint8_t)draw(8);
		r.seg[n].last_sect = (uint8_t)(r.seg[n].first_sect + draw(draw(20) ? 2 : 9));
	}
	return r;
}

/* One request, and its answer. */
static void
round_of(struct vbd *v, struct ring_front *f)
{
	struct xen_blkif_response answer;
	unsigned before = batches;
	int status;

	asked = any_request();
	v->page->entry[f->req_prod++ % XEN_BLKIF_RING].request = asked;
	ring_push_requests(f);
	while (blkback_serve(v))
		;
	bad += ring_responses(f) != 1;
	answer = v->page->entry[f->rsp_cons++ % XEN_BLKIF_RING].response;
	bad += answer.id != asked.id || answer.operation != asked.operation;
	status = asked.operation == XEN_BLKIF_OP_FLUSH_DISKCACHE ? (asked.nr_segments ? -1 : 0)
		 : asked.operation > XEN_BLKIF_OP_WRITE          ? -2
		 : asked.operation == XEN_BLKIF_OP_WRITE && v->disk.readonly ? -1
		 : allowed()                                                 ? 0
									     : -1;
	bad += answer.status != status || (batches != before) != (status == 0 && allowed());
}

static void
requests(bool readonly)
{
	static volatile struct xen_blkif_page *page; /* once it is known */
	struct vbd *v = &vbds[0];
	struct ring_front f;

	if (page)
		ring_begin(&f, &page->ring, XEN_BLKIF_RING);
	*v = (struct vbd){ .of = &them,
			   .disk.readonly = readonly,
			   .file.bytes = file,
			   .sectors = SECTORS,
			   .look = true,
			   .mine = XEN_XENBUS_InitWait };
	bad = batches = 0;
	blkback_serve(v);
	page = v->page;
	ring_begin(&f, &page->ring, XEN_BLKIF_RING);
	for (unsigned n = 0; n < ROUNDS / 2; n++)
		round_of(v, &f);
	ok(v->mine == XEN_XENBUS_Connected && !bad && batches > 1000,
	   "%u requests of any bytes, %s: %u are copied, and all answered by what they were",
	   ROUNDS / 2, readonly ? "to read" : "to read and write", batches);
	v->page->ring.req_prod = f.req_prod + 33;
	blkback_serve(v);
	ok(v->mine == XEN_XENBUS_Closed && !v->page && closed == 1,
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

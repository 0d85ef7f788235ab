/*
 * The front end of a disk.
 */
#include <guest/pv/drivers/blkfront.h>
#include <guest/pv/lib/text.h>

#define PATIENCE 1000000000ul /* ns without an event, behind which it looks who is there */

/* ---- requests, for blkask.c ---- */

void
blk_let_go(struct blkfront *b, const struct xen_blkif_request *r)
{
	for (unsigned n = 0; n < r->nr_segments; n++)
		refs_end(b->refs, r->seg[n].gref);
}

void
blk_put(struct blkfront *b, const struct blk_slot *s)
{
	volatile union xen_blkif_entry *e = &b->page->entry[b->ring.req_prod++ % XEN_BLKIF_RING];

	e->request = s->request;
}

void
blk_push(struct blkfront *b)
{
	if (b->mine == XEN_XENBUS_Connected && ring_push_requests(&b->ring)) {
		pv_send(b->port);
		b->sent++;
	}
}

/* ---- the handshake ---- */

static void
drop(struct blkfront *b)
{
	struct xen_evtchn_close c = { b->port };

	if (b->port)
		pv_event_op(XEN_EVTCHNOP_close, &c);
	if (b->page_ref && refs_end(b->refs, b->page_ref))
		b->page_ref =
			0; /* else somebody still has it mapped, and the next one may have it */
	b->port = 0;
}

/* Whoever has been at the other end is not any more: all that was not answered is asked again. */
static int
publish(struct blkfront *b)
{
	struct xen_evtchn_alloc_unbound a = { .dom = XEN_DOMID_SELF,
					      .remote_dom = (uint16_t)b->peer };
	uint32_t tx;
	int err;

	drop(b);
	if (pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a))
		return -ENOSPC;
	b->port = a.port;
	memset(b->page, 0, sizeof(*b->page));
	ring_begin(&b->ring, &b->page->ring, XEN_BLKIF_RING);
	if (!b->page_ref)
		b->page_ref = refs_grant(b->refs, (uint16_t)b->peer, b->page, false);
	if (!b->page_ref)
		return -ENOSPC;
	do { /* the three of them at once */
		err = xenbus_start(b->bus, &tx);
		if (err)
			return err;
		err = xenbus_write_number(b->bus, tx, b->here, "ring-ref", b->page_ref);
		if (!err)
			err = xenbus_write_number(b->bus, tx, b->here, "event-channel", b->port);
		if (!err)
			err = xenbus_write(b->bus, tx, b->here, "protocol", "x86_64-abi");
		if (xenbus_end(b->bus, tx, !err) == -EAGAIN)
			err = -EAGAIN;
	} while (err == -EAGAIN);
	return err;
}

static int
connect(struct blkfront *b)
{
	uint64_t n = 0;
	int err = xenbus_read_number(b->bus, 0, b->there, "sectors", &b->sectors);

	if (err)
		return err;
	xenbus_read_number(b->bus, 0, b->there, "info", &n);
	b->readonly = n & XEN_VDISK_READONLY;
	n = 0;
	xenbus_read_number(b->bus, 0, b->there, "feature-flush-cache", &n);
	b->can_flush = n == 1;
	b->times++;
	return 0;
}

static enum xen_xenbus_state
state_of(struct blkfront *b, const char *dir)
{
	uint64_t n = 0;

	return xenbus_read_number(b->bus, 0, dir, "state", &n) ? XEN_XENBUS_Unknown
							       : (enum xen_xenbus_state)n;
}

/* One step, if there is one to do. */
static bool
shake_hands(struct blkfront *b)
{
	enum step step = state_step(FRONT, b->mine, state_of(b, b->there));
	int err = 0;

	if (step == STEP_WAIT)
		return false;
	if (step == STEP_BEGIN || step == STEP_CLOSE)
		drop(b);
	else
		err = step == STEP_PUBLISH ? publish(b) : connect(b);
	b->mine = err ? XEN_XENBUS_Closed : state_after(FRONT, step, b->mine);
	xenbus_write_number(b->bus, 0, b->here, "state", b->mine);
	if (b->mine == XEN_XENBUS_Connected) {
		blk_again(b);
		blk_push(b);
	}
	return true;
}

/* Who has the back end, and where that is. 0, or why it is not known. */
static int
find_other(struct blkfront *b)
{
	uint64_t peer;
	int err = xenbus_read_number(b->bus, 0, b->here, "backend-id", &peer);

	if (!err)
		err = xenbus_read(b->bus, 0, b->here, "backend");
	if (!err && strlen(b->bus->answer) >= sizeof(b->there))
		err = -EINVAL;
	if (err)
		return err;
	memcpy(b->there, b->bus->answer, strlen(b->bus->answer) + 1);
	b->peer = peer;
	return xenbus_watch(b->bus, b->there, b->token);
}

/* What is asked and not answered is another domain's to see. */
static void
grant_anew(struct blkfront *b)
{
	for (struct blk_slot *s = b->slot; s < b->slot + XEN_BLKIF_RING; s++)
		for (unsigned n = 0; s->used && !s->done && n < s->request.nr_segments; n++)
			if (!refs_move(b->refs, s->request.seg[n].gref, (uint16_t)b->peer)) {
				s->done = true; /* the old one still has it */
				s->status = XEN_BLKIF_RSP_ERROR;
			}
}

/*
 * The store may be another one, which knows nothing of this end: then it begins anew. Its watch is
 * none there, whatever its state: who was at the begin, too, would never hear of anything. Or its
 * disk is another domain's affair now.
 */
static void
look_around(struct blkfront *b)
{
	uint64_t was = b->peer;
	bool same =
		!xenbus_read(b->bus, 0, b->here, "backend") && !strcmp(b->bus->answer, b->there);

	xenbus_watch(b->bus, b->there, b->token); /* refused where there is one */
	if (same && state_of(b, b->here) == b->mine)
		return;
	drop(b);
	xenbus_unwatch(b->bus, b->there, b->token);
	if (find_other(b))
		return; /* nobody has it now */
	b->mine = XEN_XENBUS_Unknown;
	if (b->peer != was)
		grant_anew(b);
}

int
blk_begin(struct blkfront *b, struct xenbus *bus, struct refs *refs, struct xen_blkif_page *page,
	  const char *name)
{
	int err = 0;

	memset(b, 0, sizeof(*b));
	b->bus = bus;
	b->refs = refs;
	b->page = page;
	ring_begin(&b->ring, &page->ring, XEN_BLKIF_RING);
	if (!name) {
		err = xenbus_list(bus, "device/vbd");
		name = bus->answer;
	}
	if (err || !*name)
		return err ? err : -ENOENT;
	if (strlen(name) >= sizeof(b->token))
		return -EINVAL;
	memcpy(b->token, name, strlen(name) + 1);
	snprintf(b->here, sizeof(b->here), "device/vbd/%.*s", (int)sizeof(b->token), b->token);
	err = xenbus_read_number(bus, 0, b->here, "virtual-device", &b->vdev);
	return err ? err : find_other(b);
}

bool
blk_serve(struct blkfront *b)
{
	bool any = false;

	if (xenbus_heard(b->bus, b->token) || b->mine == XEN_XENBUS_Unknown)
		while (shake_hands(b))
			any = true;
	if (b->mine == XEN_XENBUS_Connected && !b->lies)
		any |= blk_take(b);
	return any;
}

static void
sleep(struct blkfront *b)
{
	const uint32_t ports[] = { pv_info->store_evtchn, b->port };
	uint64_t until = pv_now() + PATIENCE;

	pv_wait(ports, b->port ? 2 : 1, until);
	b->rung++;
	if (pv_now() >= until)
		look_around(b);
}

int
blk_connect(struct blkfront *b)
{
	while (b->mine != XEN_XENBUS_Connected) {
		if (b->mine == XEN_XENBUS_Closed)
			return -ENODEV;
		if (!blk_serve(b))
			sleep(b);
	}
	return 0;
}

int
blk_wait(struct blkfront *b, int request)
{
	struct blk_slot *s = &b->slot[request];

	blk_push(b);
	while (!s->done && !b->lies)
		if (!blk_serve(b))
			sleep(b);
	if (!s->done)
		return -ENODEV;
	s->used = s->done = false;
	return s->status == XEN_BLKIF_RSP_OKAY         ? 0
	       : s->status == XEN_BLKIF_RSP_EOPNOTSUPP ? -EOPNOTSUPP
						       : -EIO;
}

int
blk_do(struct blkfront *b, enum xen_blkif_op op, uint64_t sector, const void *at, unsigned sectors)
{
	int request = blk_ask(b, op, sector, at, sectors);

	return request < 0 ? request : blk_wait(b, request);
}

/*
 * Of two that part a back end may have the ring until its front end is Closed: Linux' does
 * (drivers/block/xen-blkback/xenbus.c, frontend_changed()), and is Closed behind that.
 */
static void
take_back(struct blkfront *b)
{
	enum xen_xenbus_state state = state_of(b, b->there);

	while (b->page_ref && (state == XEN_XENBUS_Connected || state == XEN_XENBUS_Closing)) {
		pv_wait(&pv_info->store_evtchn, 1, pv_now() + PATIENCE);
		state = state_of(b, b->there);
	}
	drop(b);
}

void
blk_end(struct blkfront *b)
{
	b->mine = XEN_XENBUS_Closing;
	xenbus_write_number(b->bus, 0, b->here, "state", b->mine);
	while (b->mine != XEN_XENBUS_Closed)
		if (!blk_serve(b))
			sleep(b);
	take_back(b);
	xenbus_unwatch(b->bus, b->there, b->token);
	for (struct blk_slot *s = b->slot; s < b->slot + XEN_BLKIF_RING; s++)
		if (s->used && !s->done)
			blk_let_go(b, &s->request);
}

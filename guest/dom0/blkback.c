/*
 * The back end of a disk: the handshake, and who is told. What is asked is Lab 9B's.
 */
#include <guest/dom0/blkback.h>

#define PAGE  4096u
#define ROUND 16u /* requests, before others have their turn */

static uint8_t windows[VBDS][PAGE] __attribute__((aligned(4096)));

/* ---- the ring ---- */

static struct vbd *
of_back(struct backend *b)
{
	return (struct vbd *)((char *)b - offsetof(struct vbd, back));
}

static const char *
connect(struct backend *b)
{
	char path[PATH_SIZE], protocol[16] = "";
	struct vbd *v = of_back(b);
	uint64_t ref, port;

	back_path(b, false, "protocol", path);
	if (daemon_read(path, protocol, sizeof(protocol)) && strcmp(protocol, "x86_64-abi"))
		return "its ring is not one of x86_64-abi";
	if (!front_number(b, "ring-ref", &ref) || !front_number(b, "event-channel", &port))
		return "it says not where its ring is";
	v->page = back_map(b, windows[v - vbds], ref, &v->handle);
	if (!v->page)
		return "its ring is not granted, or this Zeno has no grants";
	v->port = back_bind(b, port);
	if (!v->port)
		return "its port is not for us";
	v->ring = (struct ring_back){ .shared = &v->page->ring, .size = XEN_BLKIF_RING };
	return NULL;
}

static void
drop(struct backend *b)
{
	struct vbd *v = of_back(b);

	back_unbind(&v->port);
	if (v->page)
		back_unmap(windows[v - vbds], v->handle);
	medium_forget(v);
	v->page = NULL;
}

const struct backend_kind blkback = { .type = "vbd", .connect = connect, .drop = drop };

/* ---- requests ---- */

static void
push(struct vbd *v)
{
	if (!ring_push_responses(&v->ring))
		return;
	pv_send(v->port);
	v->rung++;
}

void
blkback_answer(struct vbd *v, const struct xen_blkif_request *r, enum xen_blkif_rsp status)
{
	blk_put_answer(v, r, status);
	push(v);
}

static bool
serve_ring(struct vbd *v)
{
	uint32_t done = blk_serve_requests(v, ROUND);

	if (done == RING_LIES) {
		back_close(&v->back, "it says that its ring has more than there is room");
		return true;
	}
	v->asked += done;
	if (done && !v->medium.there)
		push(v);
	return done;
}

bool
blkback_serve(struct vbd *v)
{
	bool any = back_shake(&v->back);

	if (v->page)
		any |= serve_ring(v);
	if (back_left(&v->back))
		vbd_free(v);
	return any;
}

/*
 * The back end of a disk: the handshake, and who is told. What is asked is Lab 9B's.
 */
#include <guest/dom0/back.h>
#include <guest/dom0/blkback.h>
#include <guest/pv/lib/grants.h>

#define PAGE  4096u
#define ROUND 16u /* requests, before others have their turn */

static uint8_t windows[VBDS][PAGE] __attribute__((aligned(4096)));

/* ---- the ring ---- */

/* Why there is no ring; NULL: it is there. */
static const char *
map(struct vbd *v, uint64_t ref, uint64_t port)
{
	struct xen_evtchn_bind_interdomain b = { .remote_dom = (uint16_t)v->of->id,
						 .remote_port = (uint32_t)port };
	uint8_t *at = windows[v - vbds];
	int err = pv_map_grant(at, (uint16_t)v->of->id, (uint32_t)ref, XEN_GNTMAP_host_map,
			       &v->handle);

	if (err == -ENOSYS)
		return "this Zeno has no grants";
	if (err)
		return "its ring is not granted";
	v->page = (volatile struct xen_blkif_page *)at;
	if (pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b))
		return "its port is not for dom0";
	v->port = b.local_port;
	v->ring = (struct ring_back){ .shared = &v->page->ring, .size = XEN_BLKIF_RING };
	return NULL;
}

/* Our own page is there again. */
void
blkback_drop(struct vbd *v)
{
	struct xen_evtchn_close c = { v->port };
	uint8_t *at = windows[v - vbds];

	if (v->port)
		pv_event_op(XEN_EVTCHNOP_close, &c);
	if (v->page) {
		pv_unmap_grant(at, 0, v->handle);
		pv_map(at, pv_page(at) << 12 | PTE_P | PTE_W | PTE_U | PTE_NX);
	}
	medium_forget(v);
	v->port = 0;
	v->page = NULL;
}

/* ---- the handshake ---- */

/* Once: who breaks rules without end fills nobody's screen. */
static void
tell(struct vbd *v, const char *why)
{
	if (v->told)
		return;
	v->told = true;
	say("%s%s's %s is closed to it: %s\n", speaker ? "\n" : "", v->of->name, v->disk.name, why);
}

static bool
front_number(const struct vbd *v, const char *key, uint64_t *number)
{
	char path[PATH_SIZE];

	vbd_path(v, false, key, path, sizeof(path));
	return daemon_read_number(path, number);
}

/* By what the front end has written; or why not. */
static const char *
connect(struct vbd *v)
{
	char path[PATH_SIZE], protocol[16] = "";
	uint64_t ref, port;

	vbd_path(v, false, "protocol", path, sizeof(path));
	if (daemon_read(path, protocol, sizeof(protocol)) && strcmp(protocol, "x86_64-abi"))
		return "its ring is not one of x86_64-abi";
	if (!front_number(v, "ring-ref", &ref) || !front_number(v, "event-channel", &port))
		return "it says not where its ring is";
	if (ref > UINT32_MAX || port > UINT32_MAX)
		return "there is no such ring";
	return map(v, ref, port);
}

static void
show_state(const struct vbd *v)
{
	char path[PATH_SIZE], number[4];

	vbd_path(v, true, "state", path, sizeof(path));
	snprintf(number, sizeof(number), "%u", v->mine);
	daemon_write(path, number);
}

static enum xen_xenbus_state
front_state(const struct vbd *v)
{
	uint64_t state = 0;

	front_number(v, "state", &state);
	return state > XEN_XENBUS_Reconfigured ? XEN_XENBUS_Unknown : (enum xen_xenbus_state)state;
}

static bool
shake_hands(struct vbd *v)
{
	enum xen_xenbus_state other = front_state(v);
	enum step step = state_step(BACK, v->mine, other);
	const char *why = NULL;

	if (step == STEP_WAIT || (v->leaving && v->mine == XEN_XENBUS_Closed))
		return false;
	if (step == STEP_CONNECT)
		why = connect(v);
	if (why)
		tell(v, why);
	if (why || step != STEP_CONNECT)
		blkback_drop(v);
	v->mine = why ? XEN_XENBUS_Closed : back_after(step, v->mine, other);
	show_state(v);
	return true;
}

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
		tell(v, "it says that its ring has more than there is room");
		blkback_drop(v);
		v->mine = XEN_XENBUS_Closed;
		show_state(v);
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
	bool any = false;

	if (v->look) {
		v->look = false;
		while (shake_hands(v))
			any = true;
	}
	if (v->page)
		any |= serve_ring(v);
	if (v->leaving && v->mine == XEN_XENBUS_Closed) {
		say("\n%s has let go of %s\n", v->of->name, v->disk.name);
		vbd_free(v);
		if (!attached)
			shell_prompt();
	}
	return any;
}

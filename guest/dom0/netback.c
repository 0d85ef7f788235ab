/*
 * The back end of a network card: the handshake, and the rings.
 */
#include <guest/dom0/back.h>
#include <guest/dom0/netback.h>
#include <guest/pv/lib/grants.h>

#define PAGE 4096u

static uint8_t windows[VIFS][2][PAGE] __attribute__((aligned(4096)));

/* ---- the rings ---- */

static void *
map(const struct vif *v, unsigned n, uint64_t ref, uint32_t *handle)
{
	uint8_t *at = windows[v - vifs][n];

	return ref > UINT32_MAX || pv_map_grant(at, (uint16_t)v->of->id, (uint32_t)ref,
						XEN_GNTMAP_host_map, handle)
		       ? NULL
		       : at;
}

/* Our own page is there again. */
static void
unmap(const struct vif *v, unsigned n, uint32_t handle)
{
	uint8_t *at = windows[v - vifs][n];

	pv_unmap_grant(at, 0, handle);
	pv_map(at, pv_page(at) << 12 | PTE_P | PTE_W | PTE_U | PTE_NX);
}

/* Why there are no rings; NULL: they are there. */
static const char *
open_rings(struct vif *v, uint64_t tx, uint64_t rx, uint64_t port)
{
	struct xen_evtchn_bind_interdomain b = { .remote_dom = (uint16_t)v->of->id,
						 .remote_port = (uint32_t)port };

	v->tx = map(v, 0, tx, &v->tx_handle);
	v->rx = map(v, 1, rx, &v->rx_handle);
	if (!v->tx || !v->rx)
		return "its rings are not granted, or this Zeno has no grants";
	if (port > UINT32_MAX || pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b))
		return "its port is not for dom0";
	v->local_port = b.local_port;
	v->tx_ring = (struct ring_back){ .shared = &v->tx->ring, .size = XEN_NETIF_RING };
	v->rx_ring = (struct ring_back){ .shared = &v->rx->ring, .size = XEN_NETIF_RING };
	v->lies = v->served = false;
	return bridge_join(&v->port) ? NULL : "somebody else has its address";
}

void
netback_drop(struct vif *v)
{
	struct xen_evtchn_close c = { v->local_port };

	bridge_leave(&v->port);
	if (v->local_port)
		pv_event_op(XEN_EVTCHNOP_close, &c);
	if (v->tx)
		unmap(v, 0, v->tx_handle);
	if (v->rx)
		unmap(v, 1, v->rx_handle);
	v->local_port = 0;
	v->tx = NULL;
	v->rx = NULL;
}

/* ---- the handshake ---- */

/* Once: who breaks rules without end fills nobody's screen. */
static void
tell(struct vif *v, const char *why)
{
	if (v->told)
		return;
	v->told = true;
	say("%s%s's vif %u is closed to it: %s\n", speaker ? "\n" : "", v->of->name, v->number,
	    why);
}

static bool
front_number(const struct vif *v, const char *key, uint64_t *number)
{
	char path[PATH_SIZE];

	vif_path(v, false, key, path, sizeof(path));
	return daemon_read_number(path, number);
}

/* By what the front end has written; or why not. */
static const char *
connect(struct vif *v)
{
	uint64_t tx, rx, port, copy = 0, queues = 1, no_blank = 0;

	front_number(v, "request-rx-copy", &copy);
	front_number(v, "multi-queue-num-queues", &queues);
	front_number(v, "feature-no-csum-offload", &no_blank);
	v->takes_blank = !no_blank;
	if (copy != 1)
		return "it does not ask for copies, which is all there is";
	if (queues != 1)
		return "it wants several queues";
	if (!front_number(v, "tx-ring-ref", &tx) || !front_number(v, "rx-ring-ref", &rx) ||
	    !front_number(v, "event-channel", &port))
		return "it says not where its rings are";
	return open_rings(v, tx, rx, port);
}

static void
show_state(const struct vif *v)
{
	char path[PATH_SIZE], number[4];

	vif_path(v, true, "state", path, sizeof(path));
	snprintf(number, sizeof(number), "%u", v->mine);
	daemon_write(path, number);
}

/* Once its rings are there a front end of netif.h's says that it is connected: netlink.c. */
static enum xen_xenbus_state
front_state(const struct vif *v)
{
	uint64_t state = 0;

	front_number(v, "state", &state);
	if (state > XEN_XENBUS_Reconfigured)
		return XEN_XENBUS_Unknown;
	return v->mine == XEN_XENBUS_InitWait && state == XEN_XENBUS_Connected
		       ? XEN_XENBUS_Initialised
		       : (enum xen_xenbus_state)state;
}

static bool
shake_hands(struct vif *v)
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
		netback_drop(v);
	v->mine = why ? XEN_XENBUS_Closed : back_after(step, v->mine, other);
	show_state(v);
	return true;
}

/* ---- in each round ---- */

/* It is told of all that has come for it, and gone, at once. */
static void
push(struct vif *v)
{
	bool ring;

	if (!v->served)
		return;
	v->served = false;
	ring = ring_push_responses(&v->tx_ring);
	ring |= ring_push_responses(&v->rx_ring);
	if (ring) {
		pv_send(v->local_port);
		v->rung++;
	}
}

static void
close_rings(struct vif *v)
{
	tell(v, "its rings are none");
	netback_drop(v);
	v->mine = XEN_XENBUS_Closed;
	show_state(v);
}

bool
netback_serve(struct vif *v)
{
	bool any = false;

	if (v->look) {
		v->look = false;
		while (shake_hands(v))
			any = true;
	}
	if (v->tx && !v->lies)
		any |= netserve(v);
	if (v->tx && v->lies) {
		close_rings(v);
		any = true;
	}
	if (v->tx) /* others', too, which have come since its last turn */
		push(v);
	if (v->leaving && v->mine == XEN_XENBUS_Closed) {
		say("\n%s has let go of vif %u\n", v->of->name, v->number);
		vif_free(v);
		if (!attached)
			shell_prompt();
	}
	return any;
}

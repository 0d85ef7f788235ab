/*
 * The back end of a network card: the handshake, and the rings.
 */
#include <guest/dom0/netback.h>

#define PAGE 4096u

static uint8_t windows[VIFS][2][PAGE] __attribute__((aligned(4096)));

/* ---- the rings ---- */

static struct vif *
of_back(struct backend *b)
{
	return (struct vif *)((char *)b - offsetof(struct vif, back));
}

/* Why there are no rings; NULL: they are there. */
static const char *
open_rings(struct vif *v, uint64_t tx, uint64_t rx, uint64_t port)
{
	v->tx = back_map(&v->back, windows[v - vifs][0], tx, &v->tx_handle);
	v->rx = back_map(&v->back, windows[v - vifs][1], rx, &v->rx_handle);
	if (!v->tx || !v->rx)
		return "its rings are not granted, or this Zeno has no grants";
	v->local_port = back_bind(&v->back, port);
	if (!v->local_port)
		return "its port is not for us";
	v->tx_ring = (struct ring_back){ .shared = &v->tx->ring, .size = XEN_NETIF_RING };
	v->rx_ring = (struct ring_back){ .shared = &v->rx->ring, .size = XEN_NETIF_RING };
	v->lies = v->served = false;
	return bridge_join(&v->port) ? NULL : "somebody else has its address";
}

static const char *
connect(struct backend *b)
{
	uint64_t tx, rx, port, copy = 0, queues = 1, no_blank = 0;
	struct vif *v = of_back(b);

	front_number(b, "request-rx-copy", &copy);
	front_number(b, "multi-queue-num-queues", &queues);
	front_number(b, "feature-no-csum-offload", &no_blank);
	v->takes_blank = !no_blank;
	if (copy != 1)
		return "it does not ask for copies, which is all there is";
	if (queues != 1)
		return "it wants several queues";
	if (!front_number(b, "tx-ring-ref", &tx) || !front_number(b, "rx-ring-ref", &rx) ||
	    !front_number(b, "event-channel", &port))
		return "it says not where its rings are";
	return open_rings(v, tx, rx, port);
}

static void
drop(struct backend *b)
{
	struct vif *v = of_back(b);

	bridge_leave(&v->port);
	back_unbind(&v->local_port);
	if (v->tx)
		back_unmap(windows[v - vifs][0], v->tx_handle);
	if (v->rx)
		back_unmap(windows[v - vifs][1], v->rx_handle);
	v->tx = NULL;
	v->rx = NULL;
}

/* A front end of netif.h's says that it is connected: netlink.c. */
const struct backend_kind netback = {
	.type = "vif", .connect = connect, .drop = drop, .skips = true
};

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

bool
netback_serve(struct vif *v)
{
	bool any = back_shake(&v->back);

	if (v->tx && !v->lies)
		any |= netserve(v);
	if (v->tx && v->lies) {
		back_close(&v->back, "its rings are none");
		any = true;
	}
	if (v->tx) /* others', too, which have come since its last turn */
		push(v);
	if (back_left(&v->back))
		vif_free(v);
	return any;
}

/*
 * The front end of a network card: frames that go, and room for those that come. A page's place
 * is its entry's, modulo how many there are.
 */
#include <guest/pv/drivers/netfront.h>

void
net_rings_begin(struct netfront *f)
{
	ring_begin(&f->tx, &f->memory->tx.ring, XEN_NETIF_RING);
	ring_begin(&f->rx, &f->memory->rx.ring, XEN_NETIF_RING);
}

/* What the other end still has mapped stays with it: then nothing more is put there. */
static bool
come_back(struct netfront *f, uint32_t *ref)
{
	if (*ref && !refs_end(f->refs, *ref)) {
		f->lies = true;
		return false;
	}
	*ref = 0;
	return true;
}

void
net_rings_end(struct netfront *f)
{
	for (unsigned n = 0; n < NET_SENT; n++)
		come_back(f, &f->sent_ref[n]);
	for (unsigned n = 0; n < NET_ROOM; n++)
		come_back(f, &f->room_ref[n]);
}

/* ---- frames that go ---- */

/* Pages come back, in whatever order; an answer to what was not sent is a lie. */
static void
take_sent(struct netfront *f)
{
	uint32_t count = ring_responses(&f->tx);

	if (count == RING_LIES)
		f->lies = true;
	for (; count && !f->lies; count--) {
		volatile union xen_netif_tx_entry *e =
			&f->memory->tx.entry[f->tx.rsp_cons++ % XEN_NETIF_RING];
		struct xen_netif_tx_response r = e->response;

		if (r.id >= NET_SENT || !f->sent_ref[r.id])
			f->lies = true;
		else if (come_back(f, &f->sent_ref[r.id]))
			f->failed += r.status != XEN_NETIF_RSP_OKAY;
	}
}

/* Until there is no answer more: only then does the next one ring. */
bool
net_sent_all(struct netfront *f)
{
	while (ring_last_responses(&f->tx) && !f->lies)
		take_sent(f);
	return f->lies || f->tx.rsp_cons == f->tx.req_prod;
}

uint8_t *
net_page(struct netfront *f)
{
	unsigned id = f->tx.req_prod % NET_SENT;

	if (f->sent_ref[id])
		take_sent(f);
	return f->lies || f->sent_ref[id] || !ring_room(&f->tx) ? NULL : f->memory->sent[id];
}

int
net_send(struct netfront *f, size_t len)
{
	unsigned id = f->tx.req_prod % NET_SENT;
	uint32_t ref;

	if (f->lies || f->dev.mine != XEN_XENBUS_Connected)
		return -ENODEV;
	ref = refs_grant(f->refs, (uint16_t)f->dev.peer, f->memory->sent[id], true);
	if (!ref)
		return -EAGAIN;
	f->sent_ref[id] = ref;
	f->memory->tx.entry[f->tx.req_prod++ % XEN_NETIF_RING].request =
		(struct xen_netif_tx_request){ .gref = ref,
					       .id = (uint16_t)id,
					       .size = (uint16_t)len };
	f->sent++;
	return 0;
}

/* ---- room for those that come ---- */

static void
give_room(struct netfront *f)
{
	while (f->rx.req_prod - f->rx.rsp_cons < NET_ROOM) {
		unsigned id = f->rx.req_prod % NET_ROOM;
		uint32_t ref;

		if (!come_back(f, &f->room_ref[id]))
			return;
		ref = refs_grant(f->refs, (uint16_t)f->dev.peer, f->memory->room[id], false);
		if (!ref)
			return;
		f->room_ref[id] = ref;
		f->memory->rx.entry[f->rx.req_prod++ % XEN_NETIF_RING].request =
			(struct xen_netif_rx_request){ .id = (uint16_t)id, .gref = ref };
	}
}

void
net_push(struct netfront *f)
{
	bool ring;

	if (f->dev.mine != XEN_XENBUS_Connected)
		return;
	give_room(f);
	ring = ring_push_requests(&f->rx);
	ring |= ring_push_requests(&f->tx);
	if (ring) {
		pv_send(f->port);
		f->rang++;
	}
}

/* Responses come in the order of what they answer. Nothing was asked for that comes in pieces. */
const uint8_t *
net_take(struct netfront *f, size_t *len)
{
	struct xen_netif_rx_response r;
	uint32_t count;
	unsigned id;

	if (f->lies || f->dev.mine != XEN_XENBUS_Connected)
		return NULL;
	net_push(f);
	while ((count = ring_last_responses(&f->rx)) && count != RING_LIES) {
		id = f->rx.rsp_cons % NET_ROOM;
		r = ((volatile union xen_netif_rx_entry *)
			     f->memory->rx.entry)[f->rx.rsp_cons++ % XEN_NETIF_RING]
			    .response;
		if (r.id != id || !come_back(f, &f->room_ref[id]) ||
		    r.flags & (XEN_NETRXF_more_data | XEN_NETRXF_extra_info |
			       XEN_NETRXF_csum_blank) ||
		    (r.status > 0 && r.offset + r.status > (int)NET_PAGE))
			break;
		if (r.status > 0) {
			f->got++;
			*len = (size_t)r.status;
			return f->memory->room[id] + r.offset;
		}
	}
	f->lies |= count != 0;
	return NULL;
}

/*
 * The front end of a network card (exercise 10.1): frames that go, and room for those that come. A
 * page's place is its entry's, modulo how many there are.
 */
#include <guest/pv/drivers/exercise.h>
#include <guest/pv/drivers/netfront.h>

/* EXERCISE 10.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 10.0 */

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

static void
take_sent(struct netfront *f)
{
	/*
	 * EXERCISE 10.1b: pages that come back
	 * Holds: the page of each frame that is answered is this end's alone again; f->failed
	 *  counts those whose answer is anything but OKAY. From the first one on that is to no
	 *  frame on its way: f->lies, and nothing more is looked at.
	 * Beware: answers come in any order, and are written while you read. The other end may
	 *  keep a page.
	 * Manual: netif.h "netif_tx_response", of libxen-dev; netfront.h.
	 * Tools: come_back(), NET_SENT, RING_LIES, ring_responses(), ring_room(), XEN_NETIF_RING
	 */
	exercise_todo("10.1", "handouts/lab10a.md#ex-10-1");
	(void)f;
	/* END EXERCISE 10.1b */
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
	if (f->lies || f->dev.mine != XEN_XENBUS_Connected)
		return -ENODEV;
	/*
	 * EXERCISE 10.1a: a frame that goes
	 * Holds: the other end may use the page that net_page() gave, and a request for its first
	 *  len bytes is on the ring, not pushed yet; f->sent counts it. Or -EAGAIN: there was no
	 *  grant, and nothing has changed.
	 * Beware: it may do no more than it must. What you must know later is kept where it can't
	 *  write.
	 * Manual: netif.h "netif_tx_request", of libxen-dev; netfront.h.
	 * Tools: net_push(), NET_SENT, refs_end(), refs_grant(), XEN_NETIF_RING
	 */
	exercise_todo("10.1", "handouts/lab10a.md#ex-10-1");
	(void)len;
	return -EAGAIN;
	/* END EXERCISE 10.1a */
}

/* ---- room for those that come ---- */

static void
give_room(struct netfront *f)
{
	/*
	 * EXERCISE 10.1c: room
	 * Holds: the other end has all pages as room, in their order, each in a request of its
	 *  own, whose id is the page's number; or as many as there are grants for.
	 * Beware: a page is there for one frame, until its reader asks for the next. What an
	 *  earlier other end keeps is given to nobody: f->lies.
	 * Manual: netif.h "netif_rx_request", of libxen-dev; netfront.h.
	 * Tools: come_back(), NET_ROOM, refs_grant(), ring_room(), XEN_NETIF_RING
	 */
	exercise_todo("10.1", "handouts/lab10a.md#ex-10-1");
	(void)f;
	/* END EXERCISE 10.1c */
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

const uint8_t *
net_take(struct netfront *f, size_t *len)
{
	if (f->lies || f->dev.mine != XEN_XENBUS_Connected)
		return NULL;
	net_push(f);
	/*
	 * EXERCISE 10.1d: a frame that comes
	 * Holds: the next frame, in its page, which only this end has then, and *len; f->got
	 *  counts it. NULL: none is there, and the next one rings; or an answer can't be, and
	 *  f->lies. Unused room (status 0 or less) is none.
	 * Beware: frames in pieces, with extras or without a checksum were not offered. Answers
	 *  stand in their requests' order, and are written while you read.
	 * Manual: netif.h "netif_rx_response", of libxen-dev; netfront.h.
	 * Tools: come_back(), NET_PAGE, NET_ROOM, refs_end(), ring_last_responses(), RING_LIES,
	 *  XEN_NETIF_RING, XEN_NETRXF_csum_blank, XEN_NETRXF_extra_info, XEN_NETRXF_more_data
	 */
	exercise_todo("10.1", "handouts/lab10a.md#ex-10-1");
	(void)len;
	return NULL;
	/* END EXERCISE 10.1d */
}

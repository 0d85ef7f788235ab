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
	 * Hint: what do you index with a word of the answer, and what is at that place?
	 * Hint: three frames are out, 4, 5 and 6. The answers say 6, 4, 6. What is each worth?
	 * Hint: a library's desk: a book that nobody has borrowed can't be returned, and one that
	 *  is returned twice was not here in between.
	 * until then: (void)f;
	 */
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
	 * Hint: who only sends your frame does what with the page?
	 * Hint: the answer will name one of thirty-two pages. By which of a request's words?
	 * Hint: a coat that you hand in: the ticket's number is the hook's, and the cloakroom
	 *  keeps the other half of the ticket, so that nobody can write another number on it.
	 * until then: (void)len; return -EAGAIN;
	 */
	unsigned id = f->tx.req_prod % NET_SENT;
	uint32_t ref;

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
	 * Hint: how much room does the other end have now, by your own two indices?
	 * Hint: of 64 pages 60 are with it. Four frames have come, and of the last one somebody
	 *  still reads. When is its page's turn again?
	 * Hint: a bakery puts out empty trays for the mill's cart: as many as it has, and none on
	 *  which bread still lies.
	 * until then: (void)f;
	 */
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
	 * Hint: which of the answer's four words can be wrong, and what does each do to your
	 *  reader?
	 * Hint: an answer says offset 4000 and 97 bytes; then another one, offset 65000 and 1.
	 * Hint: recv() into an iovec copies the lengths first, and goes by its copy: a program
	 *  with two threads could else change them between the check and the use.
	 * until then: (void)len; return NULL;
	 */
	struct xen_netif_rx_response r;
	uint32_t count;
	unsigned id;

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
	/* END EXERCISE 10.1d */
}

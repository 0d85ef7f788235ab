/*
 * Frames from a domain (exercise 10.2): each is taken off the ring, looked at, and goes to the
 * bridge.
 */
#include <guest/dom0/netback.h>
#include <guest/pv/drivers/exercise.h>
#include <guest/pv/inet/sum.h>

#define PAGE     4096u
#define WIRE_MIN 60u /* bytes that any frame has there */

/* EXERCISE 10.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 10.0 */

/* ---- the ring ---- */

static struct xen_netif_tx_request
request(const struct vif *v, uint32_t at)
{
	return v->tx->entry[at % XEN_NETIF_RING].request;
}

/*
 * A frame's entries from req_cons on, of which so many are there; req_cons stays. False: they are
 * not all there, or too many, so that nobody can tell where the next frame begins.
 */
static bool
take(struct vif *v, struct net_frame *f, uint32_t count)
{
	/*
	 * EXERCISE 10.2a: a frame's entries
	 * Holds: f has whose frame it is that begins there, its requests in order, how many entries
	 *  behind the first are none, and whether its checksum is to be made. Or false: nobody can
	 *  tell where it ends.
	 * Beware: entries are written while you look. Those that you were not told of are nothing.
	 *  f has not room for any number.
	 * Manual: netif.h "netif_tx_request", "netif_extra_info", of libxen-dev.
	 * Tools: request(), ring_requests(), XEN_NETIF_EXTRA_MORE, XEN_NETIF_RING,
	 *  XEN_NETIF_SLOTS, XEN_NETTXF_csum_blank, XEN_NETTXF_extra_info, XEN_NETTXF_more_data
	 */
	exercise_todo("10.2", "handouts/lab10a.md#ex-10-2");
	(void)count;
	f->piece[0] = request(v, 0);
	return false;
	/* END EXERCISE 10.2a */
}

static void
answer(struct vif *v, uint16_t id, enum xen_netif_rsp status)
{
	v->tx->entry[v->tx_ring.rsp_prod++ % XEN_NETIF_RING].response =
		(struct xen_netif_tx_response){ .id = id, .status = (int16_t)status };
}

static void
answer_all(struct vif *v, const struct net_frame *f, enum xen_netif_rsp status)
{
	/*
	 * EXERCISE 10.2b: answers
	 * Holds: each entry of the frame has its answer in the place that it had; the domain is to
	 *  be told (v->served).
	 * Beware: what was no request has no number to answer to, and was not refused either.
	 * Manual: netif.h "netif_tx_response", of libxen-dev.
	 * Tools: answer(), ring_push_responses(), XEN_NETIF_RSP_NULL
	 */
	exercise_todo("10.2", "handouts/lab10a.md#ex-10-2");
	answer(v, f->piece[0].id, status);
	/* END EXERCISE 10.2b */
}

/* ---- a frame ---- */

static bool
measure(struct net_frame *f)
{
	/*
	 * EXERCISE 10.2c: sizes
	 * Holds: f->len is the frame's length, and each piece says what lies in its own page; or
	 *  false: this is no frame that the bridge takes.
	 * Beware: the sizes are somebody else's words, and need not agree with each other, nor
	 *  with a page; a piece may be empty. Dom0 has offered nothing that goes by extras.
	 * Manual: netif.h "netif_tx_request", of libxen-dev; bridge.h.
	 * Tools: FRAME_MAX, FRAME_MIN, PAGE, WIRE_MIN
	 */
	exercise_todo("10.2", "handouts/lab10a.md#ex-10-2");
	f->len = 0;
	return false;
	/* END EXERCISE 10.2c */
}

/* For a port that wants all of it here, with its checksum. The head is what was decided by. */
static bool
bring(const struct net_frame *f, uint8_t *whole)
{
	memcpy(whole, f->head, f->head_len);
	return (f->len == f->head_len ||
		net_gather(f, f->head_len, f->len - f->head_len, whole + f->head_len)) &&
	       (!f->blank || sum_frame(whole, f->len));
}

/* To another VIF as it is, unless that one wants a checksum which is not made. */
static enum xen_netif_rsp
pass_on(const struct net_frame *f)
{
	static uint8_t whole[PAGE] __attribute__((aligned(4096)));
	bool here = false;
	struct port *p = NULL;

	while ((p = bridge_next(&f->from->port, f->head, p)))
		if (p->send == net_deliver_whole && (!f->blank || ((struct vif *)p)->takes_blank)) {
			net_deliver((struct vif *)p, f);
		} else {
			if (!here && !bring(f, whole))
				return XEN_NETIF_RSP_ERROR;
			here = true;
			p->send(p, whole, f->len);
		}
	return XEN_NETIF_RSP_OKAY;
}

static enum xen_netif_rsp
serve_one(struct net_frame *f)
{
	struct vif *v = f->from;

	if (!measure(f))
		return XEN_NETIF_RSP_ERROR;
	f->head_len = f->len < NET_HEAD ? f->len : NET_HEAD;
	if (!net_gather(f, 0, f->head_len, f->head))
		return XEN_NETIF_RSP_ERROR;
	if (!bridge_takes(&v->port, f->head) || !rules_own(v->spec.ip, f->head, f->head_len) ||
	    !rules_let(&v->spec.rules, WAY_OUT, f->head, f->head_len, f->len))
		return XEN_NETIF_RSP_DROPPED;
	return pass_on(f);
}

/* Whether it may go in this turn: what it takes of a wire, whatever it says of itself. */
static bool
may_go(struct vif *v, const struct net_frame *f)
{
	unsigned len = f->piece[0].size < WIRE_MIN    ? WIRE_MIN
		       : f->piece[0].size > FRAME_MAX ? FRAME_MAX
						      : f->piece[0].size;

	if (share_takes(&v->share, len))
		return true;
	v->until = share_until(&v->share, len);
	return false;
}

bool
netserve(struct vif *v)
{
	static struct net_frame f;
	uint32_t count = ring_last_requests(&v->tx_ring);
	bool any = false;

	v->until = 0;
	share_turn(&v->share, pv_now());
	for (; count; count -= f.pieces + f.extras) {
		enum xen_netif_rsp status;

		v->lies = count == RING_LIES || !take(v, &f, count);
		if (v->lies)
			return true;
		if (!may_go(v, &f))
			return any || !v->until;
		v->tx_ring.req_cons += f.pieces + f.extras;
		status = serve_one(&f);
		answer_all(v, &f, status);
		v->sent += status == XEN_NETIF_RSP_OKAY;
		v->refused += status != XEN_NETIF_RSP_OKAY;
		any = true;
	}
	share_idle(&v->share);
	return any;
}

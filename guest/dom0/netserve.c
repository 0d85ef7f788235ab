/*
 * Frames from a domain: each is taken off the ring, looked at, and goes to the bridge.
 */
#include <guest/dom0/netback.h>
#include <guest/pv/inet/sum.h>

#define PAGE     4096u
#define WIRE_MIN 60u /* bytes that any frame has there */

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
	uint32_t at = v->tx_ring.req_cons, end = at + count;
	struct xen_netif_tx_request r = request(v, at++);
	bool extra = r.flags & XEN_NETTXF_extra_info;

	f->from = v;
	f->pieces = f->extras = 0;
	f->blank = r.flags & XEN_NETTXF_csum_blank;
	f->piece[f->pieces++] = r;
	for (; extra; f->extras++) {
		if (at == end)
			return false;
		extra = v->tx->entry[at++ % XEN_NETIF_RING].extra.flags & XEN_NETIF_EXTRA_MORE;
	}
	while (r.flags & XEN_NETTXF_more_data) {
		if (at == end || f->pieces == XEN_NETIF_SLOTS)
			return false;
		r = request(v, at++);
		f->piece[f->pieces++] = r;
	}
	return true;
}

static void
answer(struct vif *v, uint16_t id, enum xen_netif_rsp status)
{
	v->tx->entry[v->tx_ring.rsp_prod++ % XEN_NETIF_RING].response =
		(struct xen_netif_tx_response){ .id = id, .status = (int16_t)status };
}

/* Each entry has its answer, in the place that it had. */
static void
answer_all(struct vif *v, const struct net_frame *f, enum xen_netif_rsp status)
{
	answer(v, f->piece[0].id, status);
	for (unsigned n = 0; n < f->extras; n++)
		answer(v, 0, XEN_NETIF_RSP_NULL);
	for (unsigned n = 1; n < f->pieces; n++)
		answer(v, f->piece[n].id, status);
	v->served = true;
}

/* ---- a frame ---- */

/*
 * The first piece says how long all of it is: what is not the others' is its own. Nothing that goes
 * by extra entries has been offered.
 */
static bool
measure(struct net_frame *f)
{
	unsigned others = 0;

	f->len = f->piece[0].size;
	for (unsigned n = 1; n < f->pieces; n++)
		others += f->piece[n].size;
	if (f->extras || f->len < FRAME_MIN || f->len > FRAME_MAX || others > f->len)
		return false;
	f->piece[0].size = (uint16_t)(f->len - others);
	for (unsigned n = 0; n < f->pieces; n++)
		if (f->piece[n].offset + f->piece[n].size > (int)PAGE)
			return false;
	return true;
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

/*
 * A frame for a domain (exercise 10.2): into the next page that it has given. Where there is none
 * it is lost, and nobody waits for it.
 */
#include <guest/dom0/netback.h>
#include <guest/pv/drivers/exercise.h>
#include <guest/pv/lib/grants.h>

#define PAGE 4096u

/* EXERCISE 10.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 10.0 */

/* Pieces, and what is here already. */
#define COPIES (XEN_NETIF_SLOTS + 1u)
struct copies {
	unsigned count;
	struct xen_gnttab_copy of[COPIES];
};

static bool
do_copies(struct copies *c)
{
	if (pv_grant_op(XEN_GNTTABOP_copy, c->of, c->count))
		return false;
	for (unsigned n = 0; n < c->count; n++)
		if (c->of[n].status)
			return false;
	return true;
}

static bool
is_let(struct vif *v, const uint8_t *head, unsigned here, unsigned len)
{
	bool good = rules_let(&v->spec.rules, WAY_IN, head, here, len);

	v->refused += !good;
	return good;
}

/* The next place of the ring, which is its answer's, too. */
static bool
next_page(struct vif *v, struct xen_netif_rx_request *r)
{
	uint32_t count = v->rx && !v->lies ? ring_requests(&v->rx_ring) : 0;

	v->lies |= count == RING_LIES;
	if (!count || v->lies) {
		v->lost++;
		return false;
	}
	*r = v->rx->entry[v->rx_ring.req_cons++ % XEN_NETIF_RING].request;
	return true;
}

static void
answer(struct vif *v, const struct xen_netif_rx_request *r, bool good, unsigned len, bool blank)
{
	unsigned flags = blank ? XEN_NETRXF_csum_blank | XEN_NETRXF_data_validated : 0;

	v->rx->entry[v->rx_ring.rsp_prod++ % XEN_NETIF_RING].response =
		(struct xen_netif_rx_response){
			.id = r->id,
			.flags = (uint16_t)flags,
			.status = (int16_t)(good ? (int)len : XEN_NETIF_RSP_ERROR),
		};
	v->served = true;
	v->got += good;
	v->lost += !good;
}

void
net_deliver_whole(struct port *p, const void *frame, size_t len)
{
	struct vif *v = (struct vif *)p;
	const uint8_t *at = frame;
	struct copies c = { .count = 0 };
	struct xen_netif_rx_request r;

	if (!is_let(v, frame, (unsigned)len, (unsigned)len) || !next_page(v, &r))
		return;
	for (size_t done = 0; done < len; c.count++) {
		size_t left = PAGE - (uint64_t)(at + done) % PAGE;
		size_t some = len - done < left ? len - done : left;

		c.of[c.count] = (struct xen_gnttab_copy){
			.source = pv_own(at + done),
			.dest = pv_granted((uint16_t)v->of->id, r.gref, (unsigned)done),
			.len = (uint16_t)some,
			.flags = XEN_GNTCOPY_dest_gref,
		};
		done += some;
	}
	answer(v, &r, do_copies(&c), (unsigned)len, false);
}

/*
 * The copies that bring [from, from + len) of the frame to a page: its places there are `to`'s from
 * its offset on.
 */
static void
add_pieces(struct copies *c, const struct net_frame *f, unsigned from, unsigned len,
	   struct xen_gnttab_copy_ptr to, unsigned flags)
{
	/*
	 * EXERCISE 10.2d: copies
	 * Holds: behind those that are there, c has the copies that bring these bytes of the frame
	 *  to `to`, in their order; none is of no bytes. `flags` says what `to` is.
	 * Beware: pieces lie in pages of their own, each from its own offset on. A stretch begins
	 *  and ends in any of them. What is not asked for is not touched.
	 * Manual: grant_table.h "GNTTABOP_copy", of libxen-dev; xen_grants.h.
	 * Tools: pv_granted(), pv_own(), XEN_GNTCOPY_source_gref
	 * Hint: in which piece does the first byte lie, and how far behind its begin?
	 * Hint: pieces of 10, 0, 20 and 30 bytes: where are the bytes 5 to 40?
	 * Hint: readv() at an offset of a file that lies in three extents: it skips what lies in
	 *  front, takes the rest of that extent, then whole ones, then a part of the last.
	 * until then: (void)c; (void)f; (void)from; (void)len; (void)to; (void)flags;
	 */
	for (unsigned n = 0; n < f->pieces && len; n++) {
		const struct xen_netif_tx_request *p = &f->piece[n];
		unsigned some;

		if (from >= p->size) {
			from -= p->size;
			continue;
		}
		some = p->size - from < len ? p->size - from : len;
		c->of[c->count++] = (struct xen_gnttab_copy){
			.source = pv_granted((uint16_t)f->from->of->id, p->gref, p->offset + from),
			.dest = to,
			.len = (uint16_t)some,
			.flags = (uint16_t)(XEN_GNTCOPY_source_gref | flags),
		};
		to.offset = (uint16_t)(to.offset + some);
		len -= some;
		from = 0;
	}
	/* END EXERCISE 10.2d */
}

void
net_deliver(struct vif *to, const struct net_frame *f)
{
	struct copies c = { .count = 1 };
	struct xen_netif_rx_request r;

	if (!is_let(to, f->head, f->head_len, f->len) || !next_page(to, &r))
		return;
	c.of[0] = (struct xen_gnttab_copy){ .source = pv_own(f->head),
					    .dest = pv_granted((uint16_t)to->of->id, r.gref, 0),
					    .len = (uint16_t)f->head_len,
					    .flags = XEN_GNTCOPY_dest_gref };
	add_pieces(&c, f, f->head_len, f->len - f->head_len,
		   pv_granted((uint16_t)to->of->id, r.gref, f->head_len), XEN_GNTCOPY_dest_gref);
	answer(to, &r, do_copies(&c), f->len, f->blank);
}

bool
net_gather(const struct net_frame *f, unsigned from, unsigned len, void *at)
{
	struct copies c = { .count = 0 };

	add_pieces(&c, f, from, len, pv_own(at), 0);
	return do_copies(&c);
}

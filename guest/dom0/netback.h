/*
 * Network cards that dom0 has for others: VIFs, each a port of dom0's bridge behind two rings of
 * the domain's.
 *
 * Who is at the other end is not trusted. An entry is copied out of its ring before anything of it
 * is looked at. Of a frame dom0 copies the head, once, and decides by that; to another VIF the head
 * goes out of this copy, and the rest from grant to grant: dom0 never has it.
 *
 *   vifs.c     who has which, and what the store says of it    netback.c   the handshake, the rings
 *   of Lab 10: netserve.c  frames from a domain                netdeliver.c  ... and to one
 *              netrules.c  which may go, or come               netshare.c    how much may go
 */
#pragma once

#include <guest/dom0/backend.h>
#include <guest/dom0/bridge.h>
#include <guest/dom0/share.h>
#include <guest/dom0/vifspec.h>
#include <guest/pv/drivers/ring.h>
#include <inc/xen_net.h>

#define VIFS     32u
#define NET_HEAD 96u /* bytes of a frame that are copied: as much as anybody looks at, and more */

struct vif {
	struct port port; /* of the bridge; and so it is a struct vif */
	union {
		struct backend back;
		struct domu *of; /* its first: whose; NULL: none */
	};
	struct vif_spec spec;
	volatile struct xen_netif_tx_page *tx; /* NULL: no rings are mapped */
	volatile struct xen_netif_rx_page *rx;
	uint32_t tx_handle, rx_handle, local_port;
	struct ring_back tx_ring, rx_ring;
	bool takes_blank; /* frames whose checksum is still to be made */
	bool lies;        /* what its rings say can't be: it is closed in its turn */
	bool served;      /* there are responses that it has not been told of */
	struct share share;
	uint64_t until; /* ns: when it may send more, if its rate holds it back; 0: it does not */
	uint64_t sent, got, lost, refused, rung; /* frames; events */
};
extern struct vif vifs[VIFS];

/* A frame that a domain sends, as its ring has it: pieces of pages that it grants. */
struct net_frame {
	struct vif *from;
	unsigned pieces, extras; /* entries of the ring: requests, and others behind the first */
	struct xen_netif_tx_request piece[XEN_NETIF_SLOTS];
	unsigned len, head_len;
	bool blank;                                           /* its checksum is still to be made */
	uint8_t head[NET_HEAD] __attribute__((aligned(128))); /* in one page */
};

/* netback.c. Whether there was something to do. */
extern const struct backend_kind netback;
bool netback_serve(struct vif *v);

/* netserve.c: frames from its ring, as many as it may send in a turn. Whether there was one. */
bool netserve(struct vif *v);

/* netdeliver.c. A port's send(); and a frame of another VIF's. */
void net_deliver_whole(struct port *p, const void *frame, size_t len);
void net_deliver(struct vif *to, const struct net_frame *f);
/* Bytes of a frame, from there on, to `at`, which lies in one page; false: they are not granted. */
bool net_gather(const struct net_frame *f, unsigned from, unsigned len, void *at);

/* vifs.c */
void vif_free(struct vif *v); /* with all that the store has of it */

/* driven.c: a card that another domain gives. */
const char *driven_attach_card(struct domu *u, unsigned number, const uint8_t *mac,
			       const char *backend);
bool driven_has_mac(const uint8_t *mac);

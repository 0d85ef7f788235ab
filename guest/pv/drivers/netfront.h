/*
 * A network card that another domain has: the front end. Frames lie in pages of their own, which
 * are granted for as long as the other end has them, and no longer: what it has given back it can
 * neither read nor write any more, and only then is it looked at.
 *
 * The other end is not trusted. If it goes and another one comes, what was on its way is lost, as
 * frames may be.
 *
 *   netfront.c, of Lab 10  both rings
 *   netlink.c              how it comes together with its back end, and parts
 */
#pragma once

#include <guest/pv/drivers/device.h>
#include <guest/pv/drivers/refs.h>
#include <guest/pv/drivers/ring.h>
#include <inc/xen_net.h>

#define NET_SENT  32u /* pages; powers of two, and no more than a ring has entries */
#define NET_ROOM  64u
#define NET_FRAME 1514u
#define NET_PAGE  4096u

/* Each page of it is granted by itself. */
struct net_memory {
	struct xen_netif_tx_page tx;
	struct xen_netif_rx_page rx;
	uint8_t sent[NET_SENT][NET_PAGE], room[NET_ROOM][NET_PAGE];
} __attribute__((aligned(4096)));

struct netfront {
	struct device dev;
	struct refs *refs;
	struct net_memory *memory; /* the caller's */
	uint8_t mac[6];
	uint32_t port, tx_ref, rx_ref; /* 0: none */
	struct ring_front tx, rx;
	uint32_t sent_ref[NET_SENT], room_ref[NET_ROOM]; /* 0: the page is not with the other end */
	bool lies;       /* the other end's ring was nonsense: it is not asked any more */
	unsigned times;  /* that it was connected */
	unsigned stores; /* that it has seen: what somebody watches a new one does not know */
	uint64_t sent, got, failed; /* frames; failed: that the other end says it could not send */
	uint64_t rang, rung;        /* events to the other end; sleeps that one from it has ended */
};

/* netlink.c. The card device/vif/NAME, or the first there is. As device_begin() says. */
int net_begin(struct netfront *f, struct xenbus *bus, struct refs *refs, struct net_memory *memory,
	      const char *name);
/* Does what there is to do with the other end's state; waits for nothing. */
void net_serve(struct netfront *f);
/* Until it is connected: 0, or closed: -ENODEV. */
int net_connect(struct netfront *f);
/* Until the other end rings, or that time has come. */
void net_sleep(struct netfront *f, uint64_t until);
void net_end(struct netfront *f);

/* netfront.c. The page that the next frame is to be in; NULL: none is free now. */
uint8_t *net_page(struct netfront *f);
/* ... and so many bytes of it are one. -ENODEV: there is no other end; -EAGAIN: no grant is. */
int net_send(struct netfront *f, size_t len);
void net_push(struct netfront *f);     /* what was sent up to now goes out */
bool net_sent_all(struct netfront *f); /* ... and has been taken; else one is rung when it is */
/* A frame that has come, NULL: none. It is there until the next call. */
const uint8_t *net_take(struct netfront *f, size_t *len);
/* Rings that nobody else looks at yet; and all pages are its own again. */
void net_rings_begin(struct netfront *f);
void net_rings_end(struct netfront *f);

/*
 * The store's messages by a domain's ring (io/xs_wire.h). The domain may write there what it likes
 * at any time: each index is read once, and a request is nothing before it is here as a whole.
 * Pure.
 */
#pragma once

#include <guest/dom0/store.h>

/*
 * Behind the ring, where the page has nothing else: what the next dom0 must know if this one ends
 * in the middle of a message. The domain can write it, and makes a mess of its own ring alone. Each
 * word is written before the index that makes it matter, so it holds whenever dom0 ends.
 */
struct store_rest {
	struct xen_xsd_sockmsg head; /* of the request that is on its way */
	uint32_t begun;              /* where it has begun: an index as req_cons is one */
	uint32_t ends;               /* where the message that is being sent will: as rsp_prod */
};
struct store_page {
	struct xen_store_ring ring;
	struct store_rest rest;
};

/* Zeroed at first. */
struct store_ring {
	union {
		struct xen_xsd_sockmsg head;
		uint8_t head_bytes[sizeof(struct xen_xsd_sockmsg)];
	};
	char payload[XEN_STORE_PAYLOAD];
	uint32_t taken;  /* bytes of a request, its head and payload */
	uint32_t sent;   /* ... of the client's first message */
	bool lost;       /* the payload, or some of it, went with the dom0 that was here before */
	uint32_t unsent; /* bytes of a message of hers, which nobody knows any more */
	const char *broken; /* why nobody answers any more; NULL: somebody does */
};

/*
 * Takes requests and sends messages, as far as there are some, and room. Whether something has
 * happened in the ring: then the domain wants to hear of it, and there may be more to do.
 */
bool store_ring_serve(struct store_ring *s, volatile struct store_page *p, struct store *store,
		      struct store_client *c);

/*
 * Another dom0 has served this ring up to now, or nobody has. Of a request that it has taken a part
 * of, that is still in the ring, unless the domain has written others over it: then it gets EIO.
 */
void store_ring_goes_on(struct store_ring *s, volatile struct store_page *p);

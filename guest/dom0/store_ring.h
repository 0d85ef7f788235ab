/*
 * The store's messages by a domain's ring (io/xs_wire.h). The domain may write there what it likes
 * at any time: each index is read once, and a request is nothing before it is here as a whole.
 * Pure.
 */
#pragma once

#include <guest/dom0/store.h>

/* Zeroed at first. */
struct store_ring {
	union {
		struct xen_xsd_sockmsg head;
		uint8_t head_bytes[sizeof(struct xen_xsd_sockmsg)];
	};
	char payload[XEN_STORE_PAYLOAD];
	uint32_t taken; /* bytes of a request, its head and payload */
	uint32_t sent;  /* ... of the client's first message */
	bool broken;    /* by the protocol: nobody answers any more */
};

/*
 * Takes requests and sends messages, as far as there are some, and room. Whether something has
 * happened in the ring: then the domain wants to hear of it, and there may be more to do.
 */
bool store_ring_serve(struct store_ring *s, volatile struct xen_store_ring *r, struct store *store,
		      struct store_client *c);

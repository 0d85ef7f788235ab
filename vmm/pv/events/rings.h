/*
 * The rings of a domain's console and store, from the other end. The guest may write what it likes
 * there at any time: each index is read once, and what no honest guest writes is nothing to read.
 * Pure.
 */
#pragma once

#include <stdbool.h>

#include <inc/xen_rings.h>

/* Takes what the guest has said, `most` bytes of it; how many that was. */
unsigned pv_console_take(volatile struct xen_console_ring *r, unsigned most,
			 void (*put)(void *ctx, uint8_t byte), void *ctx);
/* One byte for it. */
bool pv_console_has_room(const volatile struct xen_console_ring *r);
void pv_console_give(volatile struct xen_console_ring *r, uint8_t byte);

/* Zeroed at first: how much of a request has been taken. */
struct pv_store {
	union {
		struct xen_xsd_sockmsg head;
		uint8_t head_bytes[sizeof(struct xen_xsd_sockmsg)];
	};
	uint32_t taken; /* bytes, head and payload */
	bool broken;    /* the guest has broken the protocol: nobody answers it any more */
};
/* Answers each request with the error ENOENT. Whether something has happened in the ring. */
bool pv_store_serve(volatile struct xen_store_ring *r, struct pv_store *s);

/*
 * The bridge: frames of the Ethernet go from one port to those that are to have them. A port is a
 * domain's VIF, dom0's own, or a network card's.
 *
 * A port has one address, sends under that alone, and gets what is for it; so no table learns what
 * somebody makes up. An uplink has none: behind it are all addresses that no port here has. What
 * is for all, or for a group, goes to each of the others. Pure.
 */
#pragma once

#include <stddef.h>

#include <guest/pv/drivers/address.h>

#define FRAME_MIN 14u   /* bytes: two addresses, and what the rest is */
#define FRAME_MAX 1514u /* ... and 1,500 of that; the check sequence is the card's affair */

struct port {
	struct port *next;
	uint8_t mac[MAC_SIZE];
	bool uplink; /* mac is nothing */
	/*
	 * A frame of FRAME_MIN to FRAME_MAX bytes, which are the sender's again when this returns:
	 * the port copies them, or drops them. It may itself call bridge_receive().
	 */
	void (*send)(struct port *p, const void *frame, size_t len);
	uint64_t refused; /* frames from there that no port was to have */
};

/* False: another port has that address, or it is a group's. The port is its owner's. */
bool bridge_join(struct port *p);
void bridge_leave(struct port *p); /* one that never joined, too */

/* A frame has come in by that port. One that is too short, or too long, goes nowhere. */
void bridge_receive(struct port *from, const void *frame, size_t len);

/*
 * The same by hand, for who has not all of the frame here: each port that is to have one which
 * begins with these FRAME_MIN bytes, behind `after` (NULL: the first). NULL: no more.
 */
struct port *bridge_next(const struct port *from, const uint8_t *head, const struct port *after);
/* Whether the port may send under the address that is there. Once for each frame. */
bool bridge_takes(struct port *from, const uint8_t *head);

/*
 * What a port does that answers: a frame of type 9000, for its own address, goes back to whom it is
 * from. Whether it was one.
 */
#define FRAME_LOOP 0x9000u
bool bridge_return(struct port *p, const void *frame, size_t len);

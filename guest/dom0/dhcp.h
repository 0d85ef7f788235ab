/*
 * Addresses for those who ask (RFC 2131, 2132): an answer for one message of a client's. Nothing is
 * remembered: who has which address is somebody else's to know. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHCP_SERVER 67u /* UDP's ports */
#define DHCP_CLIENT 68u
#define DHCP_ANSWER 300u /* bytes, as old clients want them */

struct dhcp {
	uint32_t ip, mask;                    /* of the server */
	uint32_t (*find)(const uint8_t *mac); /* whose address that is; 0: nobody's */
};

/* `to` has room for DHCP_ANSWER bytes, and is filled. False: there is nothing to be said. */
bool dhcp_answer(const struct dhcp *d, const uint8_t *ask, size_t len, uint8_t *to);

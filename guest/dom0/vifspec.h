/*
 * What a domain's network card is to be, as xl-network-configuration(5) has it: parameters between
 * commas, of which none must be there.
 *
 *   mac=00:16:3e:01:02:03   its address; else it gets one by its number
 *   ip=10.0.2.7             what it may say of itself in ARP and IPv4; else anything
 *   rate=10Mb/s             what it may send: G, M, K or nothing, B for bytes, b for bits
 *   rules=out drop arp; ... as rules.h has them, with ; between them
 *   backend=NAME            that domain serves it, and has rules of its own: ip=, rate= and rules=
 *                           are for dom0's cards
 *
 * Pure.
 */
#pragma once

#include <guest/dom0/rules.h>
#include <guest/pv/drivers/address.h>

#define VIF_WORDS 240u /* bytes of what says it, its NUL, too */

struct vif_spec {
	bool has_mac;
	uint8_t mac[MAC_SIZE];
	uint32_t ip;   /* 0: any */
	uint64_t rate; /* bytes a second; 0: any */
	struct rules rules;
	char backend[24]; /* a domain's name; empty: dom0 */
};

/* NULL, or what is wrong, in words. */
const char *vif_read(struct vif_spec *s, const char *words);

/*
 * Which frames a network card lets through: rules in their order, of which the first one that fits
 * a frame decides. Where none fits, it goes through. Pure.
 *
 *   [out | in] accept | drop [arp | ip | icmp | tcp | udp] [from A.B.C.D[/N]] [to A.B.C.D[/N]]
 *   [sport N[-M]] [dport N[-M]]
 *
 * `out` is what the domain sends, `in` what it gets; without either a rule is for both. A rule with
 * addresses is for IP alone, one with ports for TCP and UDP.
 *
 * Decided is by the beginning of a frame. Of a packet in fragments only the first one has ports:
 * a rule with ports fits the others if it drops, and not if it accepts; and so it is where a
 * fragment is cut before its ports. What says that it is IP and has no head of it goes nowhere if
 * there is a rule; and what has more tags of VLANs than are looked behind.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RULES      8u
#define RULE_WORDS 100u /* bytes of what says one, its NUL, too */

enum way { WAY_OUT = 1, WAY_IN = 2 };

struct rule {
	uint8_t ways; /* of enum way */
	bool drop;
	uint16_t type;    /* of the Ethernet; 0: any */
	uint8_t protocol; /* of IP; 0: any */
	uint32_t from, from_mask, to, to_mask;
	uint16_t from_port[2], to_port[2]; /* first, last; both 0: any */
	uint64_t fits;                     /* frames that it has decided about */
};
struct rules {
	unsigned count;
	struct rule of[RULES];
};

/* NULL, or what is wrong, in words. */
const char *rule_read(struct rule *r, const char *words);
/* ... as rule_read() would read them. */
void rule_write(const struct rule *r, char *to, size_t size);
/* NULL, or that there is no room. */
const char *rules_add(struct rules *r, const struct rule *rule);

/* A frame of so many bytes, of which `here` are at `head`: 14 at least. Whether it goes through. */
bool rules_let(struct rules *r, enum way way, const uint8_t *head, size_t here, size_t len);

/*
 * Whether who sends it may have the address that it says is his: 0 is for one who does not know it
 * yet. In ARP, too; what is neither, behind its tags, says none.
 */
bool rules_own(uint32_t ip, const uint8_t *head, size_t here);

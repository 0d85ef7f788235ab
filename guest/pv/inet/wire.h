/*
 * What lies in a frame of the Ethernet, byte by byte (RFC 826, 791, 792, 768): numbers have their
 * highest byte first, and lie anywhere.
 */
#pragma once

#include <stdint.h>

#define ETH_IP   0x0800u
#define ETH_ARP  0x0806u
#define ETH_TAG  0x8100u /* a network's number, and the type that it was: IEEE 802.1Q */
#define ETH_TAG2 0x88a8u /* ... around such a one */
struct eth_head {
	uint8_t to[6], from[6], type[2];
};

#define ARP_REQUEST 1u
#define ARP_REPLY   2u
struct arp_body {
	uint8_t hardware[2], protocol[2], hardware_size, protocol_size, op[2];
	uint8_t from_mac[6], from_ip[4], to_mac[6], to_ip[4];
};

#define IP_ICMP 1u
#define IP_TCP  6u
#define IP_UDP  17u
#define IP_MORE 0x2000u /* in frag: it goes on in another packet */
#define IP_AT   0x1fffu /* where this one's body belongs, in units of 8 bytes */
struct ip_head {
	uint8_t version_size; /* 4, and how long this head is, in units of 4 bytes */
	uint8_t service, len[2], id[2], frag[2], ttl, protocol, sum[2], from[4], to[4];
};

#define ICMP_ANSWER 0u
#define ICMP_ASK    8u
struct icmp_head {
	uint8_t type, code, sum[2], id[2], number[2];
};

struct udp_head {
	uint8_t from[2], to[2], len[2], sum[2]; /* of TCP's head the first two are these, too */
};

static inline uint16_t
get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}
static inline uint32_t
get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}
static inline void
put16(uint8_t *at, uint32_t n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
}
static inline void
put32(uint8_t *at, uint32_t n)
{
	put16(at, n >> 16);
	put16(at + 2, n);
}

/*
 * A small stack of protocols for one address on one Ethernet: ARP, IPv4, ICMP's echo, UDP. It
 * waits for nothing and allocates nothing: who has got a frame gives it here, and what it sends
 * goes out by send(). Fragments are neither made nor put together. Pure.
 *
 * Who is at the other end of the wire is not trusted: a frame is any bytes at all.
 *
 *   inet.c  Ethernet, and who a frame is for     arp.c   an IP address's Ethernet address
 *   ip.c    IPv4                                 icmp.c  echo      udp.c  UDP      sum.c  checksums
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <guest/pv/drivers/address.h>
#include <guest/pv/inet/wire.h>

#define INET_FRAME          1514u /* bytes of one, at most */
#define INET_BODY           1480u /* ... of what is behind the IP's head */
#define INET_KNOWN          16u   /* neighbours that it remembers */
#define INET_PORTS          4u
#define INET_IP(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define INET_ALL            0xffffffffu /* everybody on this Ethernet */

struct inet;
/* These bytes have come for that port, and are the caller's again behind it. */
typedef void inet_udp_fn(struct inet *n, uint32_t from, uint16_t from_port, const uint8_t *bytes,
			 size_t len);

struct inet {
	uint8_t mac[MAC_SIZE];
	uint32_t ip, mask, gateway;                                  /* gateway 0: there is none */
	void (*send)(struct inet *n, const void *frame, size_t len); /* it copies, or drops */
	/* An answer to an echo of ours; NULL: it is only counted. */
	void (*pong)(struct inet *n, uint32_t from, uint16_t id, uint16_t number, size_t len);
	uint64_t answered, pongs, dropped; /* frames; dropped: of those for us that are nonsense */
	struct inet_known {
		uint32_t ip; /* 0: nobody */
		uint8_t mac[MAC_SIZE];
	} known[INET_KNOWN];
	unsigned next; /* of them: the one that goes if a new one comes */
	struct {
		uint16_t port; /* 0: none */
		inet_udp_fn *fn;
	} udp[INET_PORTS];
	uint16_t ip_id;
	uint8_t frame[INET_FRAME]; /* being made */
};

/* Zeroed but for mac, ip, mask, gateway, send and pong. */
void inet_receive(struct inet *n, const void *frame, size_t len);

/* 0; -EAGAIN: nobody knows yet where that is, and it was asked; -EINVAL: too long, or to nobody. */
int inet_ping(struct inet *n, uint32_t to, uint16_t id, uint16_t number, size_t len);
int inet_udp(struct inet *n, uint32_t to, uint16_t from_port, uint16_t to_port, const void *bytes,
	     size_t len);
/* Whatever comes for this port goes there. -ENOSPC. */
int inet_listen(struct inet *n, uint16_t port, inet_udp_fn *fn);

/* ---- what the files share ---- */

/* inet.c: the frame that is being made goes out; its body has so many bytes. */
void inet_out(struct inet *n, const uint8_t *to, uint16_t type, size_t len);
/* arp.c: 0, -EAGAIN. */
void arp_receive(struct inet *n, const uint8_t *body, size_t len);
int arp_find(struct inet *n, uint32_t ip, uint8_t *mac);
void arp_note(struct inet *n, uint32_t ip, const uint8_t *mac);
/* ip.c: where its body is made; the packet goes out, as inet_ping() says. */
void ip_receive(struct inet *n, const uint8_t *frame, size_t len);
static inline uint8_t *
ip_body(struct inet *n)
{
	return n->frame + sizeof(struct eth_head) + sizeof(struct ip_head);
}
int ip_out(struct inet *n, uint32_t to, uint8_t protocol, size_t len);
/* What a packet for us has behind its head. */
void icmp_receive(struct inet *n, const struct ip_head *ip, const uint8_t *body, size_t len);
void udp_receive(struct inet *n, const struct ip_head *ip, const uint8_t *body, size_t len);

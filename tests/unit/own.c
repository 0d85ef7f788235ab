/*
 * BUILD: guest/dom0/own.c guest/dom0/bridge.c guest/dom0/dhcp.c guest/pv/inet/inet.c
 * guest/pv/inet/arp.c guest/pv/inet/ip.c guest/pv/inet/icmp.c guest/pv/inet/udp.c
 * guest/pv/inet/sum.c
 */
/*
 * dom0's own place on its bridge, and two cards there: each is told his own address, and nobody
 * asks in the other one's name.
 */
#include <string.h>

#include <guest/dom0/bridge.h>
#include <guest/dom0/dhcp.h>
#include <guest/dom0/dom0.h>
#include <guest/pv/inet/inet.h>

#include "tap.h"

#define DHCP_AT 42u /* behind Ethernet, IPv4 and UDP */

static unsigned answers;
static uint8_t last[FRAME_MAX];

static void
hears(struct port *p, const void *frame, size_t len)
{
	answers += ((const uint8_t *)frame)[DHCP_AT] == 2;
	if (((const uint8_t *)frame)[DHCP_AT] == 2)
		memcpy(last, frame, len);
}

static struct port cards[2] = {
	{ .mac = { 0, 0x16, 0x3e, 0, 2, 0 }, .send = hears },
	{ .mac = { 0, 0x16, 0x3e, 0, 3, 0 }, .send = hears },
};

uint32_t
vif_address(const uint8_t *mac)
{
	for (unsigned n = 0; n < 2; n++)
		if (!memcmp(mac, cards[n].mac, MAC_SIZE))
			return INET_IP(10, 0, 2, 128) + n;
	return 0;
}

static struct port *asker;

static void
put_on_bridge(struct inet *n, const void *frame, size_t len)
{
	bridge_receive(asker, frame, len);
}

/* A discover of one card's, in the name of `whom`: how many hear an answer, which is for all. */
static unsigned
asked(unsigned who, const uint8_t *whom)
{
	struct inet stack = { .ip = INET_IP(10, 0, 2, 9), .send = put_on_bridge };
	uint8_t ask[300] = { 1, 1, 6 };

	memcpy(stack.mac, cards[who].mac, MAC_SIZE);
	asker = &cards[who];
	memcpy(ask + 28, whom, MAC_SIZE);
	put32(ask + 236, 0x63825363);
	memcpy(ask + 240, "\x35\1\1\xff", 4);
	answers = 0;
	inet_udp(&stack, INET_ALL, DHCP_CLIENT, DHCP_SERVER, ask, sizeof(ask));
	return answers;
}

int
main(void)
{
	static const uint8_t nobody[MAC_SIZE] = { 0, 0x16, 0x3e, 9, 9, 9 };

	bridge_join(&cards[0]);
	bridge_join(&cards[1]);
	own_begin();
	ok(asked(0, cards[0].mac) == 2 && get32(last + DHCP_AT + 16) == INET_IP(10, 0, 2, 128),
	   "who asks is told his address");
	ok(asked(1, cards[1].mac) == 2 && get32(last + DHCP_AT + 16) == INET_IP(10, 0, 2, 129),
	   "... and another one his");
	ok(asked(1, cards[0].mac) == 0, "who asks in another one's name gets nothing");
	ok(asked(0, nobody) == 0, "nor does who asks for nobody");
	ok(own_has(cards[0].mac) == false, "dom0's own address is another one");
	return done_testing();
}

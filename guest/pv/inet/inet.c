/*
 * The Ethernet: who a frame is for, and what is in it.
 */
#include <guest/pv/inet/inet.h>
#include <guest/pv/lib/text.h>

static const uint8_t everybody[MAC_SIZE] = { 255, 255, 255, 255, 255, 255 };

void
inet_receive(struct inet *n, const void *frame, size_t len)
{
	const struct eth_head *e = frame;
	const uint8_t *body = (const uint8_t *)frame + sizeof(*e);

	if (len < sizeof(*e) || len > INET_FRAME ||
	    (memcmp(e->to, n->mac, MAC_SIZE) && memcmp(e->to, everybody, MAC_SIZE)))
		return;
	if (get16(e->type) == ETH_ARP)
		arp_receive(n, body, len - sizeof(*e));
	else if (get16(e->type) == ETH_IP)
		ip_receive(n, frame, len);
}

void
inet_out(struct inet *n, const uint8_t *to, uint16_t type, size_t len)
{
	struct eth_head *e = (void *)n->frame;

	memcpy(e->to, to ? to : everybody, MAC_SIZE);
	memcpy(e->from, n->mac, MAC_SIZE);
	put16(e->type, type);
	n->send(n, n->frame, sizeof(*e) + len);
}

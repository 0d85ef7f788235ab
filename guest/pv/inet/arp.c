/*
 * Who has an IP address: asked of all, and answered to who asks (RFC 826). What an answer says is
 * known only of such as were asked for, or ask us: nobody else fills the table.
 */
#include <guest/pv/inet/inet.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

static struct inet_known *
known(struct inet *n, uint32_t ip)
{
	for (struct inet_known *k = n->known; k < n->known + INET_KNOWN; k++)
		if (k->ip == ip)
			return k;
	return NULL;
}

void
arp_note(struct inet *n, uint32_t ip, const uint8_t *mac)
{
	struct inet_known *k = known(n, ip);

	if (!ip || mac[0] & 1)
		return;
	if (!k) {
		k = &n->known[n->next];
		n->next = (n->next + 1) % INET_KNOWN;
	}
	k->ip = ip;
	memcpy(k->mac, mac, MAC_SIZE);
}

static void
out(struct inet *n, uint16_t op, uint32_t to, const uint8_t *to_mac)
{
	struct arp_body *a = (void *)(n->frame + sizeof(struct eth_head));

	memset(a, 0, sizeof(*a));
	put16(a->hardware, 1);
	put16(a->protocol, ETH_IP);
	a->hardware_size = MAC_SIZE;
	a->protocol_size = 4;
	put16(a->op, op);
	memcpy(a->from_mac, n->mac, MAC_SIZE);
	put32(a->from_ip, n->ip);
	if (to_mac)
		memcpy(a->to_mac, to_mac, MAC_SIZE);
	put32(a->to_ip, to);
	inet_out(n, to_mac, ETH_ARP, sizeof(*a));
}

void
arp_receive(struct inet *n, const uint8_t *body, size_t len)
{
	const struct arp_body *a = (const void *)body;
	uint32_t from = len < sizeof(*a) ? n->ip : get32(a->from_ip);

	if (len < sizeof(*a) || get16(a->hardware) != 1 || get16(a->protocol) != ETH_IP ||
	    a->hardware_size != MAC_SIZE || a->protocol_size != 4 || !n->ip ||
	    get32(a->to_ip) != n->ip || from == n->ip) {
		n->dropped++;
		return;
	}
	if (get16(a->op) == ARP_REQUEST) {
		uint8_t mac[MAC_SIZE];

		memcpy(mac, a->from_mac, MAC_SIZE);
		arp_note(n, from, mac);
		out(n, ARP_REPLY, from, mac);
	} else if (get16(a->op) == ARP_REPLY && known(n, from)) {
		arp_note(n, from, a->from_mac);
	}
}

/* One that is asked for has a place, with no address in it. */
int
arp_find(struct inet *n, uint32_t ip, uint8_t *mac)
{
	static const uint8_t none[MAC_SIZE];
	struct inet_known *k = known(n, ip);

	if (ip == INET_ALL) {
		memset(mac, 255, MAC_SIZE);
		return 0;
	}
	if (k && memcmp(k->mac, none, MAC_SIZE)) {
		memcpy(mac, k->mac, MAC_SIZE);
		return 0;
	}
	arp_note(n, ip, none);
	out(n, ARP_REQUEST, ip, NULL);
	return -EAGAIN;
}

/*
 * IPv4: a packet for us; and one that goes out, to a neighbour or by the gateway.
 */
#include <guest/pv/inet/inet.h>
#include <guest/pv/inet/sum.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

#define TTL 64u

/*
 * Whether somebody can be who it says it is from: what is answered goes there, and must not go to
 * all, whoever asks. 0 is who has no address yet (DHCP).
 */
static bool
is_somebody(const struct inet *n, uint32_t ip)
{
	bool near = !((ip ^ n->ip) & n->mask);

	return ip != n->ip && ip >> 28 < 14 && ip >> 24 != 127 && !(near && !(~ip & ~n->mask));
}

/* Padding behind the packet is none of it. */
void
ip_receive(struct inet *n, const uint8_t *frame, size_t len)
{
	const struct ip_head *ip = (const void *)(frame + sizeof(struct eth_head));
	size_t head, all;

	len -= sizeof(struct eth_head);
	if (len < sizeof(*ip)) {
		n->dropped++;
		return;
	}
	head = (ip->version_size & 15u) * 4;
	all = get16(ip->len);
	if (ip->version_size >> 4 != 4 || head < sizeof(*ip) || all < head || all > len ||
	    get16(ip->frag) & (IP_MORE | IP_AT) || sum_end(sum_add(0, ip, head)) || !n->ip ||
	    !is_somebody(n, get32(ip->from)) ||
	    (get32(ip->to) != n->ip && get32(ip->to) != INET_ALL)) {
		n->dropped++;
		return;
	}
	if (ip->protocol == IP_ICMP && get32(ip->to) == n->ip) /* nobody asks all of them */
		icmp_receive(n, ip, (const uint8_t *)ip + head, all - head);
	else if (ip->protocol == IP_UDP)
		udp_receive(n, ip, (const uint8_t *)ip + head, all - head);
}

int
ip_out(struct inet *n, uint32_t to, uint8_t protocol, size_t len)
{
	struct ip_head *ip = (void *)(n->frame + sizeof(struct eth_head));
	bool near = !((to ^ n->ip) & n->mask) || !n->gateway;
	uint8_t mac[MAC_SIZE], saved[sizeof(struct arp_body)];
	int err;

	if (len > INET_BODY || !to)
		return -EINVAL;
	memcpy(saved, ip, sizeof(saved)); /* a question is made where the packet is */
	err = arp_find(n, near ? to : n->gateway, mac);
	memcpy(ip, saved, sizeof(saved));
	if (err)
		return err;
	memset(ip, 0, sizeof(*ip));
	ip->version_size = 0x45;
	put16(ip->len, (uint32_t)(sizeof(*ip) + len));
	put16(ip->id, n->ip_id++);
	ip->ttl = TTL;
	ip->protocol = protocol;
	put32(ip->from, n->ip);
	put32(ip->to, to);
	put16(ip->sum, sum_end(sum_add(0, ip, sizeof(*ip))));
	inet_out(n, mac, ETH_IP, sizeof(*ip) + len);
	return 0;
}

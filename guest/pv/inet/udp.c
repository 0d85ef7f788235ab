/*
 * UDP: datagrams between ports (RFC 768). One for a port where nobody listens is dropped.
 */
#include <guest/pv/inet/inet.h>
#include <guest/pv/inet/sum.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

void
udp_receive(struct inet *n, const struct ip_head *ip, const uint8_t *body, size_t len)
{
	const struct udp_head *h = (const void *)body;
	size_t all;

	if (len < sizeof(*h) || get16(h->len) < sizeof(*h) || get16(h->len) > len) {
		n->dropped++;
		return;
	}
	all = get16(h->len);
	if (get16(h->sum) && sum_of(ip->from, ip->to, IP_UDP, body, all)) {
		n->dropped++;
		return;
	}
	for (unsigned k = 0; k < INET_PORTS; k++)
		if (n->udp[k].port && n->udp[k].port == get16(h->to)) {
			n->udp[k].fn(n, get32(ip->from), get16(h->from), body + sizeof(*h),
				     all - sizeof(*h));
			return;
		}
}

int
inet_udp(struct inet *n, uint32_t to, uint16_t from_port, uint16_t to_port, const void *bytes,
	 size_t len)
{
	struct udp_head *h = (void *)ip_body(n);
	uint8_t from_ip[4], to_ip[4];
	uint16_t sum;

	if (len > INET_BODY - sizeof(*h))
		return -EINVAL;
	memmove((uint8_t *)h + sizeof(*h), bytes, len);
	put32(from_ip, n->ip);
	put32(to_ip, to);
	put16(h->from, from_port);
	put16(h->to, to_port);
	put16(h->len, (uint32_t)(sizeof(*h) + len));
	put16(h->sum, 0);
	sum = sum_of(from_ip, to_ip, IP_UDP, h, sizeof(*h) + len);
	put16(h->sum, sum ? sum : 0xffff);
	return ip_out(n, to, IP_UDP, sizeof(*h) + len);
}

int
inet_listen(struct inet *n, uint16_t port, inet_udp_fn *fn)
{
	for (unsigned k = 0; k < INET_PORTS; k++)
		if (!n->udp[k].port) {
			n->udp[k].port = port;
			n->udp[k].fn = fn;
			return 0;
		}
	return -ENOSPC;
}

/*
 * Rules: which frame fits which.
 */
#include <guest/dom0/rules.h>
#include <guest/pv/inet/wire.h>

#define ETH 14u /* bytes of the Ethernet's head */

/* What of a frame is decided by. */
struct look {
	uint16_t type, from_port, to_port;
	uint8_t protocol;
	bool broken;    /* it says that it is IP, and is not */
	bool has_ports; /* that are here to be seen */
	uint32_t from, to;
};

static bool
may_have_ports(uint8_t protocol)
{
	return protocol == IP_TCP || protocol == IP_UDP;
}

static void
look_at_ip(struct look *l, const uint8_t *head, size_t here, size_t len)
{
	const struct ip_head *ip = (const void *)(head + ETH);
	size_t size, all;

	l->broken = true;
	if (here < ETH + sizeof(*ip))
		return;
	size = (ip->version_size & 15u) * 4;
	all = get16(ip->len);
	if (ip->version_size >> 4 != 4 || size < sizeof(*ip) || all < size || ETH + all > len)
		return;
	l->broken = false;
	l->protocol = ip->protocol;
	l->from = get32(ip->from);
	l->to = get32(ip->to);
	l->has_ports = may_have_ports(ip->protocol) && !(get16(ip->frag) & IP_AT) &&
		       all >= size + 4 && here >= ETH + size + 4;
	if (l->has_ports) {
		l->from_port = get16(head + ETH + size);
		l->to_port = get16(head + ETH + size + 2);
	}
}

static bool
port_fits(const uint16_t *range, uint16_t port)
{
	return port >= range[0] && port <= range[1];
}

static bool
fits(const struct rule *r, const struct look *l)
{
	bool ports = r->from_port[1] || r->to_port[1];

	if (r->type && r->type != l->type)
		return false;
	if (r->protocol && r->protocol != l->protocol)
		return false;
	if ((l->from ^ r->from) & r->from_mask || (l->to ^ r->to) & r->to_mask)
		return false;
	if (!ports)
		return true;
	if (!may_have_ports(l->protocol))
		return false;
	if (!l->has_ports)
		return r->drop;
	return (!r->from_port[1] || port_fits(r->from_port, l->from_port)) &&
	       (!r->to_port[1] || port_fits(r->to_port, l->to_port));
}

bool
rules_let(struct rules *r, enum way way, const uint8_t *head, size_t here, size_t len)
{
	struct look l = { .type = get16(head + 12) };

	if (!r->count)
		return true;
	if (l.type == ETH_IP)
		look_at_ip(&l, head, here, len);
	if (l.broken)
		return false;
	for (struct rule *rule = r->of; rule < r->of + r->count; rule++)
		if (rule->ways & way && fits(rule, &l)) {
			rule->fits++;
			return !rule->drop;
		}
	return true;
}

bool
rules_own(uint32_t ip, const uint8_t *head, size_t here)
{
	const struct arp_body *arp = (const void *)(head + ETH);
	const struct ip_head *p = (const void *)(head + ETH);
	uint32_t says;

	if (!ip || (get16(head + 12) != ETH_IP && get16(head + 12) != ETH_ARP))
		return true;
	if (here < ETH + (get16(head + 12) == ETH_IP ? sizeof(*p) : sizeof(*arp)))
		return false;
	says = get32(get16(head + 12) == ETH_IP ? p->from : arp->from_ip);
	return !says || says == ip;
}

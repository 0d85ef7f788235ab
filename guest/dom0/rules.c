/*
 * Rules: which frame fits which.
 */
#include <guest/dom0/rules.h>
#include <guest/pv/inet/wire.h>

#define TYPE \
	12u /* where a frame says what is in it; a tag has two bytes, and says it behind them */
#define TAG 4u

/* What of a frame is decided by. */
struct look {
	uint16_t type, from_port, to_port;
	uint8_t protocol;
	bool broken;    /* it says that it is IP, and is not; or nobody can tell what it is */
	bool has_ports; /* that are here to be seen */
	uint32_t from, to;
};

/*
 * What it is, and where that begins: behind tags, for who gets it looks there (Linux does, whatever
 * its interfaces are, for the number 0). 0: what is here has nothing but tags.
 */
static size_t
look_behind_tags(const uint8_t *head, size_t here, uint16_t *type)
{
	for (size_t at = TYPE; at + 2 <= here; at += TAG) {
		*type = get16(head + at);
		if (*type != ETH_TAG && *type != ETH_TAG2)
			return at + 2;
	}
	return 0;
}

static bool
may_have_ports(uint8_t protocol)
{
	return protocol == IP_TCP || protocol == IP_UDP;
}

static void
look_at_ip(struct look *l, const uint8_t *packet, size_t here, size_t len)
{
	const struct ip_head *ip = (const void *)packet;
	size_t size, all;

	l->broken = true;
	if (here < sizeof(*ip))
		return;
	size = (ip->version_size & 15u) * 4;
	all = get16(ip->len);
	if (ip->version_size >> 4 != 4 || size < sizeof(*ip) || all < size || all > len)
		return;
	l->broken = false;
	l->protocol = ip->protocol;
	l->from = get32(ip->from);
	l->to = get32(ip->to);
	l->has_ports = may_have_ports(ip->protocol) && !(get16(ip->frag) & IP_AT) &&
		       all >= size + 4 && here >= size + 4;
	if (l->has_ports) {
		l->from_port = get16(packet + size);
		l->to_port = get16(packet + size + 2);
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
	struct look l = { .type = 0 };
	size_t at = look_behind_tags(head, here, &l.type);

	if (!r->count)
		return true;
	l.broken = !at;
	if (at && l.type == ETH_IP)
		look_at_ip(&l, head + at, here - at, len - at);
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
	uint16_t type = 0;
	size_t at = look_behind_tags(head, here, &type);
	const struct arp_body *arp = (const void *)(head + at);
	const struct ip_head *p = (const void *)(head + at);
	uint32_t says;

	if (!ip || (at && type != ETH_IP && type != ETH_ARP))
		return true;
	if (!at || here < at + (type == ETH_IP ? sizeof(*p) : sizeof(*arp)))
		return false;
	says = get32(type == ETH_IP ? p->from : arp->from_ip);
	return !says || says == ip;
}

/*
 * Rules (exercise 10.3): what of a frame is to be believed, and which rule decides about it.
 */
#include <guest/dom0/rules.h>
#include <guest/pv/drivers/exercise.h>
#include <guest/pv/inet/wire.h>

/* EXERCISE 10.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 10.0 */

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

/* A packet of so many bytes, padding among them, of which `here` are there to be read. */
static void
look_at_ip(struct look *l, const uint8_t *packet, size_t here, size_t len)
{
	/*
	 * EXERCISE 10.3a: a packet
	 * Holds: l has from whom and to whom the packet is, its protocol, and its ports, if it has
	 *  some that are here. Or l->broken: it is none of IPv4, its struct ip_head is not here, or
	 *  its lengths can't be.
	 * Beware: both lengths in it are its sender's words; behind it may be padding. Ports stand
	 *  in one fragment alone, and options in front of them.
	 * Manual: RFC 791 3.1 "Internet Header Format"; wire.h.
	 * Tools: get16(), get32(), IP_AT, IP_MORE, may_have_ports()
	 */
	exercise_todo("10.3", "handouts/lab10b.md#ex-10-3");
	(void)packet;
	(void)here;
	(void)len;
	(void)may_have_ports;
	l->broken = true;
	/* END EXERCISE 10.3a */
}

static bool
port_fits(const uint16_t *range, uint16_t port)
{
	return port >= range[0] && port <= range[1];
}

static bool
fits(const struct rule *r, const struct look *l)
{
	/*
	 * EXERCISE 10.3b: a rule
	 * Holds: whether it is for such a frame. What a rule leaves open is for any.
	 * Beware: of some packets nobody can see the ports. A rule that drops is for each that may
	 *  be meant, one that accepts for those alone that are meant.
	 * Manual: rules.h; RFC 1858 3 "Filtering IP Fragments".
	 * Tools: may_have_ports(), port_fits(), rules_own()
	 */
	exercise_todo("10.3", "handouts/lab10b.md#ex-10-3");
	(void)r;
	(void)l;
	(void)port_fits;
	return false;
	/* END EXERCISE 10.3b */
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
	/*
	 * EXERCISE 10.3c: who decides
	 * Holds: whether the frame goes through, by the first rule of its way that is for it; that
	 *  one has counted it, and no other. What is broken goes nowhere.
	 * Beware: a rule may be for one way or for both. Where none is for a frame, somebody has
	 *  said nothing against it.
	 * Manual: rules.h.
	 * Tools: fits(), RULES
	 */
	exercise_todo("10.3", "handouts/lab10b.md#ex-10-3");
	(void)way;
	(void)fits;
	return false;
	/* END EXERCISE 10.3c */
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

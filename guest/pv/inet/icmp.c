/*
 * Echo: who is asked answers with what was sent (RFC 792).
 */
#include <guest/pv/inet/inet.h>
#include <guest/pv/inet/sum.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

static int
out(struct inet *n, uint32_t to, uint8_t type, const uint8_t *rest, size_t len)
{
	struct icmp_head *h = (void *)ip_body(n);

	memset(h, 0, sizeof(*h));
	h->type = type;
	memcpy(h->id, rest, len - offsetof(struct icmp_head, id));
	put16(h->sum, sum_end(sum_add(0, h, len)));
	return ip_out(n, to, IP_ICMP, len);
}

void
icmp_receive(struct inet *n, const struct ip_head *ip, const uint8_t *body, size_t len)
{
	const struct icmp_head *h = (const void *)body;
	uint32_t from = get32(ip->from);

	if (len < sizeof(*h) || len > INET_BODY || sum_end(sum_add(0, body, len)) || h->code) {
		n->dropped++;
	} else if (h->type == ICMP_ASK) {
		n->answered += !out(n, from, ICMP_ANSWER, h->id, len);
	} else if (h->type == ICMP_ANSWER) {
		n->pongs++;
		if (n->pong)
			n->pong(n, from, get16(h->id), get16(h->number), len - sizeof(*h));
	}
}

/* Bytes by their places: whoever gets them back can look. */
int
inet_ping(struct inet *n, uint32_t to, uint16_t id, uint16_t number, size_t len)
{
	uint8_t rest[INET_BODY];

	if (len > INET_BODY - sizeof(struct icmp_head))
		return -EINVAL;
	put16(rest, id);
	put16(rest + 2, number);
	for (size_t k = 0; k < len; k++)
		rest[4 + k] = (uint8_t)k;
	return out(n, to, ICMP_ASK, rest, sizeof(struct icmp_head) + len);
}

/*
 * Checksums.
 */
#include <guest/pv/inet/sum.h>
#include <guest/pv/inet/wire.h>
#include <guest/pv/lib/text.h>

uint32_t
sum_add(uint32_t sum, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint64_t all = sum;

	for (; len > 1; len -= 2, at += 2)
		all += get16(at);
	all += len ? (uint32_t)*at << 8 : 0;
	while (all >> 16)
		all = (all & 0xffff) + (all >> 16);
	return (uint32_t)all;
}

uint16_t
sum_end(uint32_t sum)
{
	return (uint16_t)~sum;
}

/*
 * A sum of 0 stands for none in UDP (RFC 768), so it is said otherwise; TCP's may be said so, too.
 */
uint16_t
sum_of(const uint8_t *from_ip, const uint8_t *to_ip, uint8_t protocol, const void *body, size_t len)
{
	uint8_t rest[4] = { 0, protocol };
	uint32_t sum;

	put16(rest + 2, (uint32_t)len);
	sum = sum_add(sum_add(0, from_ip, 4), to_ip, 4);
	return sum_end(sum_add(sum_add(sum, rest, 4), body, len));
}

bool
sum_frame(void *frame, size_t len)
{
	uint8_t *bytes = frame, *body, *at;
	struct ip_head *ip = (void *)(bytes + sizeof(struct eth_head));
	size_t head, all;
	uint16_t sum;

	if (len < sizeof(struct eth_head) + sizeof(*ip) || get16(bytes + 12) != ETH_IP)
		return false;
	head = (ip->version_size & 15u) * 4;
	all = get16(ip->len);
	if (ip->version_size >> 4 != 4 || head < sizeof(*ip) || all < head ||
	    all > len - sizeof(struct eth_head) || get16(ip->frag) & (IP_MORE | IP_AT))
		return false;
	body = (uint8_t *)ip + head;
	all -= head;
	if (ip->protocol == IP_UDP && all >= sizeof(struct udp_head))
		at = body + 6;
	else if (ip->protocol == IP_TCP && all >= 20)
		at = body + 16;
	else
		return false;
	put16(at, 0);
	sum = sum_of(ip->from, ip->to, ip->protocol, body, all);
	put16(at, ip->protocol == IP_UDP && !sum ? 0xffff : sum);
	return true;
}

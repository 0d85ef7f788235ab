/*
 * BUILD: guest/pv/inet/inet.c guest/pv/inet/arp.c guest/pv/inet/ip.c guest/pv/inet/icmp.c
 * guest/pv/inet/udp.c guest/pv/inet/sum.c
 */
/*
 * The small stack of protocols: two of them on a wire, answers that are byte for byte what RFCs
 * say, frames with one wrong byte, and frames of any bytes.
 */
#include <string.h>

#include <guest/pv/inet/inet.h>
#include <guest/pv/inet/sum.h>
#include <inc/errno.h>

#include "draw.h"
#include "tap.h"

static struct inet a, b;
static uint8_t last[INET_FRAME]; /* that somebody sent */
static size_t last_len;
static bool cut;
static unsigned pongs, datagrams;
static size_t got_len;
static uint8_t got[INET_FRAME];

/* A frame of its very length: a byte more is seen. */
static void
give(struct inet *to, const void *frame, size_t len)
{
	void *exactly = malloc(len ? len : 1);

	memcpy(exactly, frame, len);
	inet_receive(to, exactly, len);
	free(exactly);
}

static void
wire(struct inet *n, const void *frame, size_t len)
{
	memcpy(last, frame, len);
	last_len = len;
	if (!cut)
		give(n == &a ? &b : &a, frame, len);
}

static void
pong(struct inet *n, uint32_t from, uint16_t id, uint16_t number, size_t len)
{
	pongs += from == b.ip && id == 77 && number == 5;
	got_len = len;
}

static void
datagram(struct inet *n, uint32_t from, uint16_t from_port, const uint8_t *bytes, size_t len)
{
	datagrams++;
	got_len = len;
	memcpy(got, bytes, len);
	if (n == &b)
		inet_udp(n, from, 7, from_port, bytes, len);
}

static void
begin(void)
{
	a = (struct inet){ .mac = { 2, 0, 0, 0, 0, 1 },
			   .ip = INET_IP(10, 0, 2, 7),
			   .mask = INET_IP(255, 255, 255, 0),
			   .send = wire,
			   .pong = pong };
	b = (struct inet){ .mac = { 2, 0, 0, 0, 0, 2 },
			   .ip = INET_IP(10, 0, 2, 8),
			   .mask = INET_IP(255, 255, 255, 0),
			   .send = wire };
	inet_listen(&a, 1000, datagram);
	inet_listen(&b, 7, datagram);
	cut = false;
	pongs = datagrams = 0;
}

/* ---- the two of them ---- */

static void
pings(void)
{
	static const size_t lens[] = { 0, 1, 56, 1471, INET_BODY - 8 };

	begin();
	ok(inet_ping(&a, b.ip, 77, 5, 56) == -EAGAIN, "at first it asks who that is");
	ok(b.known[0].ip == a.ip && a.known[0].ip == b.ip && !memcmp(a.known[0].mac, b.mac, 6),
	   "each knows the other one then");
	for (unsigned n = 0; n < 5; n++)
		ok(!inet_ping(&a, b.ip, 77, 5, lens[n]) && pongs == n + 1 && got_len == lens[n],
		   "a ping of %zu bytes comes back", lens[n]);
	ok(inet_ping(&a, b.ip, 77, 5, INET_BODY - 7) == -EINVAL, "one more is too long");
	ok(b.answered == 5 && a.dropped == 0 && b.dropped == 0, "and nothing is dropped");
	ok(inet_ping(&a, INET_IP(10, 0, 2, 99), 77, 5, 0) == -EAGAIN &&
		   inet_ping(&a, INET_IP(10, 0, 2, 99), 77, 5, 0) == -EAGAIN,
	   "who is not there is asked for again");
}

static void
udp(void)
{
	uint8_t bytes[INET_BODY];

	begin();
	inet_ping(&a, b.ip, 77, 5, 0);
	for (size_t len = 0; len <= INET_BODY - 8; len += len < 9 ? 1 : 367) {
		unsigned before = datagrams;

		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)draw(256);
		ok(!inet_udp(&a, b.ip, 1000, 7, bytes, len) && datagrams == before + 2 &&
			   got_len == len && !memcmp(got, bytes, len),
		   "%zu bytes by UDP come back", len);
	}
	ok(inet_udp(&a, b.ip, 1000, 7, bytes, INET_BODY - 7) == -EINVAL, "one more is too long");
	datagrams = 0;
	inet_udp(&a, b.ip, 1000, 8, bytes, 4);
	ok(!datagrams, "nobody listens there");
	ok(inet_listen(&a, 1, datagram) == 0 && inet_listen(&a, 2, datagram) == 0 &&
		   inet_listen(&a, 3, datagram) == 0 && inet_listen(&a, 4, datagram) == -ENOSPC,
	   "four ports have room");
}

static void
gateway(void)
{
	begin();
	a.gateway = b.ip;
	inet_ping(&a, INET_IP(192, 0, 2, 1), 1, 1, 0);
	ok(a.known[0].ip == b.ip, "what is far goes by the gateway");
	cut = true;
	ok(!inet_ping(&a, INET_IP(192, 0, 2, 1), 1, 1, 0) && !memcmp(last, b.mac, 6) &&
		   get32(last + 30) == INET_IP(192, 0, 2, 1),
	   "... under the gateway's address, and the far one's");
}

/* ---- a frame, byte by byte ---- */

/* RFC 1071's example: 0001 f203 f4f5 f6f7 add up to ddf2. */
static void
sums(void)
{
	static const uint8_t bytes[] = { 0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7, 9 };
	uint8_t frame[60];

	ok(sum_end(sum_add(0, bytes, 8)) == 0x220d, "RFC 1071's example");
	ok(sum_add(sum_add(0, bytes, 4), bytes + 4, 4) == sum_add(0, bytes, 8),
	   "... in two pieces");
	ok(sum_add(0, bytes, 9) == sum_add(sum_add(0, bytes, 8), bytes + 8, 1), "an odd one");
	begin();
	inet_ping(&a, b.ip, 77, 5, 0);
	cut = true;
	inet_udp(&a, b.ip, 1000, 7, "abcdefgh", 8);
	memcpy(frame, last, last_len);
	put16(frame + 40, 0x1234);
	ok(sum_frame(frame, last_len) && !memcmp(frame, last, last_len), "a sum that is made");
	ok(!sum_frame(frame, last_len - 1), "... not of a frame that is cut");
	put16(frame + 20, 1);
	ok(!sum_frame(frame, last_len), "... nor of a fragment");
	put16(frame + 20, 0);
	frame[23] = IP_ICMP;
	ok(!sum_frame(frame, last_len), "... nor of another protocol");
}

/* One byte that is wrong: nothing comes back, unless nobody looks at it. */
static void
wrong_bytes(void)
{
	uint8_t ping[60];
	size_t len;
	unsigned silent = 0, all = 0;

	begin();
	inet_ping(&a, b.ip, 77, 5, 0);
	inet_ping(&a, b.ip, 77, 5, 18);
	b.answered = 0;
	cut = true;
	inet_ping(&a, b.ip, 77, 5, 18);
	len = last_len;
	memcpy(ping, last, len);
	for (size_t at = 12; at < len; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			ping[at] ^= (uint8_t)(1u << bit);
			give(&b, ping, len);
			ping[at] ^= (uint8_t)(1u << bit);
			silent += !b.answered;
			b.answered = 0;
			all++;
		}
	ok(silent == all, "no frame with a wrong bit is answered (%u of %u)", silent, all);
	for (size_t short_by = 1; short_by <= len; short_by++)
		give(&b, ping, len - short_by);
	ok(!b.answered, "nor one that is cut");
	memset(ping + len, 0, sizeof(ping) - len);
	give(&b, ping, sizeof(ping));
	ok(b.answered == 1, "one with padding is");
}

/* What is asked in the name of all, of a group, of a host itself or of nobody has no answer. */
static void
asked_by_nobody(void)
{
	static const uint32_t from[] = { INET_ALL,
					 INET_IP(10, 0, 2, 255),
					 INET_IP(224, 0, 0, 1),
					 INET_IP(255, 0, 0, 1),
					 INET_IP(127, 0, 0, 1),
					 INET_IP(10, 0, 2, 8),
					 0 };
	uint8_t frame[2][60];

	begin();
	inet_ping(&a, b.ip, 77, 5, 0);
	cut = true;
	inet_ping(&a, b.ip, 77, 5, 18);
	memcpy(frame[0], last, sizeof(frame[0]));
	inet_udp(&a, b.ip, 1000, 7, "abcdefghijklmnopqr", 18);
	memcpy(frame[1], last, sizeof(frame[1]));
	put16(frame[1] + 40, 0); /* no sum, which has the address in it */
	give(&b, frame[0], 60);
	give(&b, frame[1], 60);
	ok(last[23] == IP_UDP && b.answered == 1 && datagrams == 1, "somebody asks, twice");
	for (unsigned n = 0; n < 2 * sizeof(from) / sizeof(from[0]); n++) {
		uint8_t *f = frame[n % 2];

		put32(f + 26, from[n / 2]);
		put16(f + 24, 0);
		put16(f + 24, sum_end(sum_add(0, f + 14, 20)));
		memset(last, 0, sizeof(last));
		give(&b, f, 60);
		ok(!last[23] && !get16(last + 12), "%s from %08x", n % 2 ? "UDP" : "a ping",
		   from[n / 2]);
	}
}

/* ---- any bytes ---- */

/* Parts of them are such as are looked at further. */
static void
any_bytes(void)
{
	uint8_t frame[INET_FRAME + 40];

	begin();
	cut = true;
	for (unsigned n = 0; n < 300000; n++) {
		size_t len = draw(4) ? draw(100) : draw(sizeof(frame));
		struct ip_head *ip = (void *)(frame + 14);

		for (size_t k = 0; k < len && k < 120; k++)
			frame[k] = (uint8_t)draw(256);
		memcpy(frame, a.mac, 6);
		if (draw(8))
			put16(frame + 12, draw(3) ? ETH_IP : ETH_ARP);
		if (draw(8) && get16(frame + 12) == ETH_IP) {
			ip->version_size = (uint8_t)(0x45 + draw(3));
			put16(ip->len, draw(2) ? (uint32_t)len - 14 : draw(120));
			put16(ip->frag, draw(8) ? 0 : draw(65536));
			ip->protocol = draw(2) ? IP_UDP : IP_ICMP;
			put32(ip->to, a.ip);
			put16(ip->sum, 0);
			put16(ip->sum, sum_end(sum_add(0, ip, (ip->version_size & 15) * 4u)));
			put16(frame + 14 + (ip->version_size & 15) * 4 + 2, 1000);
			put16(frame + 14 + (ip->version_size & 15) * 4 + 6, 0);
		} else if (draw(8)) {
			memcpy(frame + 14, "\0\1\x8\0\6\4\0", 7);
			frame[21] = (uint8_t)draw(3);
			put32(frame + 38, a.ip);
		}
		give(&a, frame, len);
		if (len >= 14)
			sum_frame(frame, len);
	}
	ok(datagrams > 50 && a.dropped > 1000,
	   "300,000 frames of any bytes: %u datagrams, %lu dropped", datagrams, a.dropped);
}

int
main(void)
{
	pings();
	udp();
	gateway();
	sums();
	wrong_bytes();
	asked_by_nobody();
	any_bytes();
	return done_testing();
}

/*
 * BUILD: solutions/10-net/netrules.c guest/dom0/rulewords.c guest/pv/drivers/address.c
 */
/*
 * A network card's rules: how they are read and written; which frames go through; fragments, short
 * frames, and frames of any bytes.
 */
#include <string.h>

#include <guest/dom0/rules.h>
#include <guest/pv/inet/wire.h>

#include "draw.h"
#include "tap.h"

/* ---- words ---- */

static const struct {
	const char *words, *means; /* as it is written; or what is wrong */
} readings[] = {
	{ "drop", "drop" },
	{ "out accept", "out accept" },
	{ "  in   drop  arp ", "in drop arp" },
	{ "accept ip", "accept ip" },
	{ "drop icmp from 10.0.2.0/24", "drop icmp from 10.0.2.0/24" },
	{ "drop to 10.0.2.7", "drop ip to 10.0.2.7/32" },
	{ "drop from 0.0.0.0/0", "drop ip" },
	{ "accept icmp to 0.0.0.0/0", "accept icmp" },
	{ "accept tcp dport 80", "accept tcp dport 80-80" },
	{ "drop udp sport 1024-65535 dport 53 from 10.0.0.0/8 to 10.0.2.1",
	  "drop udp from 10.0.0.0/8 to 10.0.2.1/32 sport 1024-65535 dport 53-53" },
	{ "", "a rule is: [out | in] accept | drop ..." },
	{ "out", "a rule is: [out | in] accept | drop ..." },
	{ "reject", "a rule is: [out | in] accept | drop ..." },
	{ "drop tcp udp", "behind accept or drop: arp ip icmp tcp udp, from, to, sport, dport" },
	{ "drop from", "from and to take a net: 10.0.2.0/24, or an address" },
	{ "drop from 10.0.2.7/24", "from and to take a net: 10.0.2.0/24, or an address" },
	{ "drop from 10.0.2.0/33", "from and to take a net: 10.0.2.0/24, or an address" },
	{ "drop from 10.0.2.0/", "from and to take a net: 10.0.2.0/24, or an address" },
	{ "drop to 10.0.2", "from and to take a net: 10.0.2.0/24, or an address" },
	{ "drop arp from 10.0.2.7", "a rule with addresses is for IP" },
	{ "drop arp to 0.0.0.0/0", "a rule with addresses is for IP" },
	{ "drop tcp dport", "sport and dport take a number, or two: 1024-65535" },
	{ "drop tcp dport 65536", "sport and dport take a number, or two: 1024-65535" },
	{ "drop tcp dport 0", "sport and dport take a number, or two: 1024-65535" },
	{ "drop tcp dport 9-8", "sport and dport take a number, or two: 1024-65535" },
	{ "drop tcp dport 9-", "sport and dport take a number, or two: 1024-65535" },
	{ "drop tcp dport -9", "sport and dport take a number, or two: 1024-65535" },
	{ "drop dport 80", "ports are tcp's or udp's" },
	{ "drop icmp dport 80", "ports are tcp's or udp's" },
	{ "drop aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a word is too long to be a rule's" },
};

static void
words(void)
{
	for (unsigned n = 0; n < sizeof(readings) / sizeof(readings[0]); n++) {
		struct rule r, again;
		char text[RULE_WORDS];
		const char *got = rule_read(&r, readings[n].words);

		if (!got) {
			rule_write(&r, text, sizeof(text));
			got = text;
			if (rule_read(&again, text) || memcmp(&r, &again, sizeof(r)))
				got = "something else when it is read again";
		}
		if (!ok(!strcmp(got, readings[n].means), "\"%s\"", readings[n].words))
			diag("got \"%s\", not \"%s\"", got, readings[n].means);
	}
}

/* ---- frames ---- */

static uint8_t frame[200];

/* One of IP, from 10.0.2.7 port 1000 to 10.0.2.8 port 80; its length. */
static size_t
make(uint8_t protocol, uint32_t frag, size_t options, size_t body)
{
	struct ip_head *ip = (void *)(frame + 14);

	memset(frame, 0, sizeof(frame));
	put16(frame + 12, ETH_IP);
	ip->version_size = (uint8_t)(0x45 + options / 4);
	put16(ip->len, (uint32_t)(20 + options + body));
	put16(ip->frag, frag);
	ip->protocol = protocol;
	put32(ip->from, 0x0a000207);
	put32(ip->to, 0x0a000208);
	put16(frame + 34 + options, 1000);
	put16(frame + 36 + options, 80);
	return 34 + options + body;
}

/* Rules with ; between them. */
static struct rules
rules_of(const char *text)
{
	struct rules all = { .count = 0 };

	while (*text) {
		char one[RULE_WORDS];
		struct rule r;
		size_t len = strcspn(text, ";");

		snprintf(one, sizeof(one), "%.*s", (int)len, text);
		if (rule_read(&r, one) || rules_add(&all, &r))
			bail_out("no rule: %s", one);
		text += len + (text[len] == ';');
	}
	return all;
}

/* As many bytes as there are: one more is seen. */
static bool
lets(const char *text, enum way way, size_t here, size_t len)
{
	struct rules all = rules_of(text);
	uint8_t *exactly = malloc(here);
	bool good;

	memcpy(exactly, frame, here);
	rules_own(0x0a000207, exactly, here);
	good = rules_let(&all, way, exactly, here, len);
	free(exactly);
	return good;
}

static const struct {
	const char *rules;
	uint8_t protocol;
	uint32_t frag;
	size_t options, body;
	bool out, in;
	const char *what;
} decisions[] = {
	{ "", IP_TCP, 0, 0, 20, true, true, "no rule" },
	{ "drop", IP_TCP, 0, 0, 20, false, false, "a rule for all" },
	{ "out drop", IP_TCP, 0, 0, 20, false, true, "one way" },
	{ "accept tcp;drop", IP_TCP, 0, 0, 20, true, true, "the first that fits" },
	{ "accept udp;drop", IP_TCP, 0, 0, 20, false, false, "... decides" },
	{ "drop arp", IP_TCP, 0, 0, 20, true, true, "another type" },
	{ "drop from 10.0.2.0/24", IP_TCP, 0, 0, 20, false, false, "from a net" },
	{ "drop to 10.0.2.0/24", IP_TCP, 0, 0, 20, false, false, "to a net" },
	{ "drop from 10.0.2.8", IP_TCP, 0, 0, 20, true, true, "from and to are two things" },
	{ "drop tcp dport 80", IP_TCP, 0, 0, 20, false, false, "to a port" },
	{ "drop tcp dport 80", IP_TCP, 0, 40, 20, false, false, "... behind options" },
	{ "drop tcp sport 80", IP_TCP, 0, 0, 20, true, true, "... is not from it" },
	{ "drop tcp dport 81-90", IP_TCP, 0, 0, 20, true, true, "below a range" },
	{ "drop tcp dport 70-79", IP_TCP, 0, 0, 20, true, true, "beyond it" },
	{ "drop tcp dport 70-80 sport 1000", IP_TCP, 0, 0, 20, false, false, "in both" },
	{ "drop udp dport 80", IP_TCP, 0, 0, 20, true, true, "another protocol's port" },
	{ "drop tcp dport 80", IP_TCP, IP_MORE, 0, 24, false, false, "a first fragment" },
	{ "drop tcp dport 81", IP_TCP, IP_MORE, 0, 24, true, true, "... has its ports" },
	{ "drop tcp dport 81", IP_TCP, 3, 0, 24, false, false, "another one has none: dropped" },
	{ "accept tcp dport 80;drop", IP_TCP, 3, 0, 24, false, false, "... and not accepted" },
	{ "accept tcp;drop", IP_TCP, 3, 0, 24, true, true, "... unless nobody asks for them" },
	{ "drop tcp dport 81", IP_TCP, IP_MORE, 0, 3, false, false, "cut before its ports" },
	{ "accept tcp dport 80;drop", IP_TCP, IP_MORE, 0, 3, false, false, "... is not accepted" },
	{ "drop udp dport 81", IP_ICMP, 0, 0, 3, true, true, "one that has no ports" },
};

static void
decide(void)
{
	for (unsigned n = 0; n < sizeof(decisions) / sizeof(decisions[0]); n++) {
		size_t len = make(decisions[n].protocol, decisions[n].frag, decisions[n].options,
				  decisions[n].body);
		size_t here = len < 96 ? len : 96;

		ok(lets(decisions[n].rules, WAY_OUT, here, len) == decisions[n].out &&
			   lets(decisions[n].rules, WAY_IN, here, len) == decisions[n].in,
		   "%s", decisions[n].what);
	}
}

static void
broken(void)
{
	size_t len = make(IP_TCP, 0, 0, 20);

	ok(!lets("drop arp", WAY_OUT, 33, 33), "a head of IP that is cut goes nowhere");
	ok(!lets("drop arp", WAY_OUT, 14, 14), "nor one that is not there");
	ok(lets("", WAY_OUT, 14, 14), "... but where there is no rule");
	ok(!lets("drop arp", WAY_OUT, len - 1, len - 1), "nor a packet longer than its frame");
	ok(lets("drop arp", WAY_OUT, len, len + 6), "one with padding goes");
	frame[14] = 0x44;
	ok(!lets("drop arp", WAY_OUT, len, len), "a head that is too short");
	frame[14] = 0x65;
	ok(!lets("drop arp", WAY_OUT, len, len), "another version");
	put16(frame + 12, ETH_ARP);
	ok(!lets("drop arp", WAY_OUT, 42, 42) && lets("drop ip", WAY_OUT, 42, 42), "ARP is ARP");
	put16(frame + 12, 0x86dd);
	ok(lets("drop ip", WAY_OUT, 42, 42) && !lets("drop", WAY_OUT, 42, 42), "others are others");
}

static void
own(void)
{
	make(IP_TCP, 0, 0, 20);
	ok(rules_own(0x0a000207, frame, 54) && !rules_own(0x0a000209, frame, 54), "IP says who");
	ok(rules_own(0, frame, 54), "... and may, if nobody minds");
	ok(!rules_own(0x0a000207, frame, 33), "... and must");
	put32(frame + 26, 0);
	ok(rules_own(0x0a000207, frame, 54), "who does not know it yet");
	put16(frame + 12, ETH_ARP);
	put32(frame + 28, 0x0a000207);
	ok(rules_own(0x0a000207, frame, 42) && !rules_own(0x0a000209, frame, 42), "ARP says who");
	ok(!rules_own(0x0a000207, frame, 41), "... and must");
	put16(frame + 12, 0x88b5);
	ok(rules_own(0x0a000207, frame, 14), "others say nothing");
}

/* The frame that is there gets so many tags; its length then. */
static size_t
tag(size_t len, unsigned count, uint32_t type)
{
	for (; count; count--, len += 4) {
		memmove(frame + 16, frame + 12, len - 12);
		put32(frame + 12, type << 16);
	}
	return len;
}

static void
tags(void)
{
	size_t len = tag(make(IP_TCP, 0, 0, 20), 1, ETH_TAG);

	ok(!lets("drop tcp dport 80", WAY_OUT, len, len) && lets("drop udp", WAY_OUT, len, len) &&
		   !lets("accept udp;drop", WAY_IN, len, len),
	   "behind a tag is what is in it");
	ok(rules_own(0x0a000207, frame, len) && !rules_own(0x0a000209, frame, len), "... and who");
	len = tag(len, 1, ETH_TAG2);
	ok(!lets("drop tcp dport 80", WAY_OUT, len, len) && !rules_own(0x0a000209, frame, len),
	   "behind two");
	ok(!lets("drop arp", WAY_OUT, 41, 41) && !rules_own(0x0a000207, frame, 41), "... or not");
	tag(len, 21, ETH_TAG);
	ok(!lets("drop arp", WAY_OUT, 96, 138) && !rules_own(0x0a000207, frame, 96) &&
		   rules_own(0, frame, 96) && lets("", WAY_OUT, 96, 138),
	   "more than anybody looks behind");
	ok(!lets("drop arp", WAY_OUT, 14, 14), "nothing but a tag");
	make(IP_TCP, 0, 0, 20);
	put16(frame + 12, ETH_ARP);
	put32(frame + 28, 0x0a000207);
	len = tag(42, 1, ETH_TAG);
	ok(!lets("drop arp", WAY_OUT, len, len) && rules_own(0x0a000207, frame, len) &&
		   !rules_own(0x0a000209, frame, len),
	   "ARP behind a tag");
}

/* Whatever it is, no byte that is not there is looked at; and a drop for all drops it. */
static void
any_bytes(void)
{
	unsigned through = 0;

	for (unsigned n = 0; n < 100000; n++) {
		size_t here = 14 + draw(83), len = here < 96 ? here : here + draw(1000);

		make(draw(2) ? IP_TCP : IP_UDP, draw(2) ? 0 : (uint32_t)draw(65536), draw(11) * 4,
		     draw(40));
		for (unsigned k = (unsigned)draw(4); k; k--)
			frame[12 + draw(84)] = (uint8_t)draw(256);
		if (!draw(8))
			tag(100, (unsigned)draw(4), ETH_TAG);
		through +=
			lets("drop tcp dport 80;accept udp from 10.0.2.0/24", WAY_OUT, here, len);
		if (lets("drop", WAY_IN, here, len))
			bail_out("a frame that nothing lets through");
	}
	ok(through > 1000, "100,000 frames of any bytes");
}

int
main(void)
{
	words();
	decide();
	broken();
	own();
	tags();
	any_bytes();
	return done_testing();
}

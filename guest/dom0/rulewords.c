/*
 * A rule's words: rules.h.
 */
#include <guest/dom0/rules.h>
#include <guest/pv/drivers/address.h>
#include <guest/pv/inet/wire.h>
#include <guest/pv/lib/text.h>

static const struct {
	const char *word;
	uint16_t type;
	uint8_t protocol;
} kinds[] = {
	{ "arp", ETH_ARP, 0 },     { "ip", ETH_IP, 0 },       { "icmp", ETH_IP, IP_ICMP },
	{ "tcp", ETH_IP, IP_TCP }, { "udp", ETH_IP, IP_UDP },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* The next word; false: there is none, or it is too long to be one of a rule's. */
static bool
next_word(const char **words, char *to, size_t size)
{
	size_t len = 0;

	while (**words == ' ')
		++*words;
	while ((*words)[len] && (*words)[len] != ' ')
		len++;
	if (!len || len >= size)
		return false;
	memcpy(to, *words, len);
	to[len] = 0;
	*words += len;
	return true;
}

/* Up to its end, or to that character. */
static bool
read_number(const char **at, char end, uint32_t most, uint32_t *n)
{
	const char *digit = *at;

	for (*n = 0; *digit >= '0' && *digit <= '9' && *n <= most; digit++)
		*n = *n * 10 + (uint32_t)(*digit - '0');
	if (digit == *at || *n > most || (*digit && *digit != end))
		return false;
	*at = digit + (*digit != 0);
	return true;
}

static bool
read_net(char *word, uint32_t *ip, uint32_t *mask)
{
	char *slash = word;
	const char *bits;
	uint32_t n = 32;

	while (*slash && *slash != '/')
		slash++;
	bits = slash + 1;
	if (*slash && !read_number(&bits, 0, 32, &n))
		return false;
	*slash = 0;
	*mask = n ? ~0u << (32 - n) : 0;
	return ip_parse(word, ip) && !(*ip & ~*mask);
}

static bool
read_ports(const char *word, uint16_t *range)
{
	uint32_t first, last;

	if (!read_number(&word, '-', 65535, &first))
		return false;
	last = first;
	if ((*word || word[-1] == '-') && !read_number(&word, 0, 65535, &last))
		return false;
	range[0] = (uint16_t)first;
	range[1] = (uint16_t)last;
	return first <= last && last;
}

/* A word, and what belongs to it. */
static const char *
read_field(struct rule *r, const char *word, char *value)
{
	if (!strcmp(word, "from") || !strcmp(word, "to")) {
		if (r->type == ETH_ARP)
			return "a rule with addresses is for IP";
		r->type = ETH_IP; /* from anywhere, too: 0.0.0.0/0 */
		return (*word == 'f' ? read_net(value, &r->from, &r->from_mask)
				     : read_net(value, &r->to, &r->to_mask))
			       ? NULL
			       : "from and to take a net: 10.0.2.0/24, or an address";
	}
	if (!strcmp(word, "sport") || !strcmp(word, "dport"))
		return read_ports(value, *word == 's' ? r->from_port : r->to_port)
			       ? NULL
			       : "sport and dport take a number, or two: 1024-65535";
	return "behind accept or drop: arp ip icmp tcp udp, from, to, sport, dport";
}

static bool
read_kind(struct rule *r, const char *word)
{
	for (unsigned k = 0; k < KINDS; k++)
		if (!strcmp(kinds[k].word, word)) {
			r->type = kinds[k].type;
			r->protocol = kinds[k].protocol;
			return true;
		}
	return false;
}

/* What a rule says goes together. */
static const char *
check(struct rule *r)
{
	bool ports = r->from_port[1] || r->to_port[1];

	if (ports && r->protocol != IP_TCP && r->protocol != IP_UDP)
		return "ports are tcp's or udp's";
	return NULL;
}

const char *
rule_read(struct rule *r, const char *words)
{
	char word[24], value[24];
	const char *wrong = NULL;
	bool more;

	memset(r, 0, sizeof(*r));
	r->ways = WAY_OUT | WAY_IN;
	more = next_word(&words, word, sizeof(word));
	if (more && (!strcmp(word, "out") || !strcmp(word, "in"))) {
		r->ways = *word == 'o' ? WAY_OUT : WAY_IN;
		more = next_word(&words, word, sizeof(word));
	}
	if (!more || (strcmp(word, "accept") && strcmp(word, "drop")))
		return "a rule is: [out | in] accept | drop ...";
	r->drop = *word == 'd';
	more = next_word(&words, word, sizeof(word));
	if (more && read_kind(r, word))
		more = next_word(&words, word, sizeof(word));
	while (more && !wrong) {
		*value = 0;
		next_word(&words, value, sizeof(value));
		wrong = read_field(r, word, value);
		more = next_word(&words, word, sizeof(word));
	}
	if (!wrong && *words)
		wrong = "a word is too long to be a rule's";
	return wrong ? wrong : check(r);
}

/* ---- and back ---- */

static int
write_net(char *to, size_t size, const char *name, uint32_t ip, uint32_t mask)
{
	char text[IP_TEXT];
	unsigned bits = mask ? 32u - (unsigned)__builtin_ctz(mask) : 0;

	return mask ? snprintf(to, size, " %s %s/%u", name, ip_text(ip, text), bits) : 0;
}

static int
write_ports(char *to, size_t size, const char *name, const uint16_t *range)
{
	return range[1] ? snprintf(to, size, " %s %u-%u", name, range[0], range[1]) : 0;
}

void
rule_write(const struct rule *r, char *to, size_t size)
{
	static const char *const ways[] = { "", "out ", "in ", "" };
	size_t at =
		(size_t)snprintf(to, size, "%s%s", ways[r->ways & 3], r->drop ? "drop" : "accept");

	for (unsigned k = 0; k < KINDS; k++)
		if (r->type && kinds[k].type == r->type && kinds[k].protocol == r->protocol)
			at += (size_t)snprintf(to + at, size - at, " %s", kinds[k].word);
	at += (size_t)write_net(to + at, size - at, "from", r->from, r->from_mask);
	at += (size_t)write_net(to + at, size - at, "to", r->to, r->to_mask);
	at += (size_t)write_ports(to + at, size - at, "sport", r->from_port);
	write_ports(to + at, size - at, "dport", r->to_port);
}

const char *
rules_add(struct rules *r, const struct rule *rule)
{
	if (r->count == RULES)
		return "it has as many rules as there is room";
	r->of[r->count++] = *rule;
	return NULL;
}

/*
 * A network card's parameters: vifspec.h.
 */
#include <guest/dom0/vifspec.h>
#include <guest/pv/lib/text.h>

static const char *
read_mac(struct vif_spec *s, const char *word)
{
	s->has_mac = true;
	return mac_parse(word, s->mac) && !(s->mac[0] & 1)
		       ? NULL
		       : "mac is the address of one: 00:16:3e:01:02:03";
}

static const char *
read_ip(struct vif_spec *s, const char *word)
{
	return ip_parse(word, &s->ip) && s->ip ? NULL : "ip is an address: 10.0.2.7";
}

#define RATE_MAX 100000000000u /* bytes a second: no machine has more */

/* A number, and its unit: xl's, but for the interval, which is share.h's. */
static const char *
read_rate(struct vif_spec *s, const char *word)
{
	uint64_t n = 0, factor;

	for (; *word >= '0' && *word <= '9' && n <= RATE_MAX; word++)
		n = n * 10 + (uint64_t)(*word - '0');
	factor = *word == 'K' ? 1000 : *word == 'M' ? 1000000 : *word == 'G' ? 1000000000 : 1;
	word += factor != 1;
	n = n > RATE_MAX / factor ? 0 : n * factor / (*word == 'b' ? 8 : 1);
	s->rate = n;
	return n && (!strcmp(word, "B/s") || !strcmp(word, "b/s"))
		       ? NULL
		       : "rate is bytes or bits in a second: 500KB/s, 10Mb/s";
}

static const char *
read_rules(struct vif_spec *s, const char *words)
{
	const char *wrong = NULL;

	while (!wrong && *words) {
		char word[RULE_WORDS];
		struct rule rule;
		size_t len = 0;

		while (words[len] && words[len] != ';')
			len++;
		if (len >= sizeof(word))
			return "a rule is too long";
		memcpy(word, words, len);
		word[len] = 0;
		wrong = rule_read(&rule, word);
		if (!wrong)
			wrong = rules_add(&s->rules, &rule);
		words += len + (words[len] == ';');
	}
	return wrong;
}

static const char *
read_backend(struct vif_spec *s, const char *word)
{
	if (strlen(word) >= sizeof(s->backend))
		return "the back end's name is too long";
	snprintf(s->backend, sizeof(s->backend), "%s", strcmp(word, "dom0") ? word : "");
	return NULL;
}

static const struct {
	const char *name;
	const char *(*read)(struct vif_spec *s, const char *word);
} keys[] = {
	{ "mac=", read_mac },     { "ip=", read_ip },           { "rate=", read_rate },
	{ "rules=", read_rules }, { "backend=", read_backend },
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

static const char *
read_one(struct vif_spec *s, const char *word)
{
	for (unsigned k = 0; k < KEYS; k++) {
		size_t len = strlen(keys[k].name);

		if (strlen(word) >= len && !memcmp(word, keys[k].name, len))
			return keys[k].read(s, word + len);
	}
	return "a card's parameters are mac=, ip=, rate=, rules= and backend=";
}

const char *
vif_read(struct vif_spec *s, const char *words)
{
	const char *wrong = NULL;

	memset(s, 0, sizeof(*s));
	while (!wrong && *words) {
		char word[VIF_WORDS];
		size_t len = 0, last;

		while (*words == ' ')
			words++;
		while (words[len] && words[len] != ',')
			len++;
		for (last = len; last && words[last - 1] == ' '; last--)
			;
		snprintf(word, sizeof(word), "%.*s", (int)last, words);
		if (*word)
			wrong = read_one(s, word);
		words += len + (words[len] == ',');
	}
	if (!wrong && *s->backend && (s->ip || s->rate || s->rules.count))
		return "ip=, rate= and rules= are for a card of dom0's";
	return wrong;
}

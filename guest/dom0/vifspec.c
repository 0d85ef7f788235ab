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

static const struct {
	const char *name;
	const char *(*read)(struct vif_spec *s, const char *word);
} keys[] = {
	{ "mac=", read_mac },
	{ "ip=", read_ip },
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
	return "a card's parameters are mac= and ip=";
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
	return wrong;
}

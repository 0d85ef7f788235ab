/*
 * The shell's commands about network cards.
 */
#include <guest/dom0/dom0.h>
#include <guest/dom0/vifspec.h>

void
run_network_attach(const char *word)
{
	struct domu *u = domu_find(word);
	struct vif_spec s;
	const char *wrong = u ? vif_read(&s, shell_word(1) ? shell_word(1) : "") : NULL;

	if (u && !wrong)
		wrong = vif_attach(u, &s);
	if (wrong)
		say("%s gets no vif: %s\n", word, wrong);
}

/* A card's number; none there is, if it is no number. */
static unsigned
number(const char *word)
{
	unsigned n = 0;

	for (; *word >= '0' && *word <= '9' && n < 1000; word++)
		n = n * 10 + (unsigned)(*word - '0');
	return *word ? ~0u : n;
}

void
run_network_detach(const char *word)
{
	struct domu *u = domu_find(word);

	if (u && !vif_detach(u, number(shell_word(1))))
		say("%s has no vif %s\n", u->name, shell_word(1));
}

void
run_network_list(const char *word)
{
	struct domu *u = domu_find(word);

	if (u)
		vifs_list(u);
}

/* Its words are one text again. */
void
run_vif_rule(const char *word)
{
	struct domu *u = domu_find(word);
	char text[RULE_WORDS];
	const char *wrong;
	int at = 0;

	if (!u)
		return;
	if (!shell_word(2)) {
		vif_rules(u, number(shell_word(1)));
		return;
	}
	for (unsigned n = 2; shell_word(n) && at < (int)sizeof(text); n++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, "%s ", shell_word(n));
	wrong = at < (int)sizeof(text) ? vif_rule(u, number(shell_word(1)), text)
				       : "a rule is too long";
	if (wrong)
		say("%s\n", wrong);
}

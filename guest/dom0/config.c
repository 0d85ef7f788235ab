/*
 * A domain's configuration file: config.h. Whoever wrote it is not trusted: any bytes are read.
 */
#include <stdbool.h>

#include <guest/dom0/config.h>
#include <guest/pv/lib/text.h>
#include <inc/errno.h>

#define CHOICE_MAX 8u   /* characters of such a word */
#define NOTHING    (-1) /* behind the last character */

struct reader {
	const char *at, *end, *line; /* where that begins */
	unsigned number;             /* the line's */
	struct config_wrong *wrong;
};

/* A key: its place in the struct, and the room or the bounds of its value. */
enum value { NUMBER, TEXT, WORD, ACTION, TYPE, LISTS, DISKS = LISTS, VIFS, PORTS, LINES };
static const struct key {
	const char *name;
	size_t at, place;
	enum value value; /* WORD: of letters, digits, - _ and ., one of them no digit */
	bool must;
	uint64_t least, most; /* a number; a text's characters */
} keys[] = {
#define KEY(of)  #of, offsetof(struct config, of), offsetof(struct config, of##_at)
#define ROOM(of) (sizeof(((struct config *)0)->of) - 1)
	{ KEY(name), WORD, true, 1, ROOM(name) },
	{ KEY(kernel), TEXT, true, 1, ROOM(kernel) },
	{ KEY(ramdisk), TEXT, false, 1, ROOM(ramdisk) },
	{ KEY(extra), TEXT, false, 0, ROOM(extra) },
	{ KEY(type), TYPE, false, 1, CHOICE_MAX },
	{ KEY(memory), NUMBER, true, CONFIG_MIB_MIN, CONFIG_MIB_MAX },
	{ KEY(vcpus), NUMBER, false, 1, CONFIG_VCPU_MAX },
	{ KEY(cpu_weight), NUMBER, false, 1, WEIGHT_MAX },
	{ "disk", offsetof(struct config, disks), offsetof(struct config, disks_at), DISKS, false,
	  1, DISK_WORDS - 1 },
	{ "vif", offsetof(struct config, vifs), offsetof(struct config, vifs_at), VIFS, false, 0,
	  VIF_WORDS - 1 },
	{ KEY(ioports), PORTS, false, 1, 9 },
	{ KEY(irqs), LINES, false, 0, 15 },
	{ KEY(on_poweroff), ACTION, false, 1, CHOICE_MAX },
	{ KEY(on_reboot), ACTION, false, 1, CHOICE_MAX },
	{ KEY(on_crash), ACTION, false, 1, CHOICE_MAX },
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))
#define NO_SUCH_KEY                                                                                  \
	"no such key: name kernel ramdisk extra type memory vcpus cpu_weight disk vif ioports irqs " \
	"on_poweroff on_reboot on_crash"

static int
next(const struct reader *r)
{
	return r->at < r->end ? (unsigned char)*r->at : NOTHING;
}

static struct config_place
place_of(const struct reader *r, const char *where)
{
	return (struct config_place){ r->number, (unsigned)(where - r->line) + 1 };
}

static int
wrong_at(struct reader *r, const char *where, const char *words, const char *of)
{
	r->wrong->at = place_of(r, where);
	snprintf(r->wrong->words, sizeof(r->wrong->words), "%s%s", of, words);
	return -EINVAL;
}

static bool
is_in_word(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '.';
}

static void
skip_blanks(struct reader *r)
{
	while (next(r) == ' ' || next(r) == '\t' || next(r) == '\r')
		r->at++;
}

/* Comments and ends of lines, too. */
static void
skip_space(struct reader *r)
{
	for (;; r->at++) {
		skip_blanks(r);
		if (next(r) == '#')
			while (next(r) != NOTHING && next(r) != '\n')
				r->at++;
		if (next(r) != '\n')
			return;
		r->line = r->at + 1;
		r->number++;
	}
}

/* To the next assignment; false: there is none. */
static bool
skip_lines(struct reader *r)
{
	for (skip_space(r); next(r) == ';'; skip_space(r))
		r->at++;
	return next(r) != NOTHING;
}

/* A text in quotes, to `to`, which has room for `most` characters and a NUL. */
static int
read_text(struct reader *r, char *to, const struct key *key)
{
	const char *begin = r->at;
	int quote = next(r);
	size_t len = 0, digits = 0;

	if (quote != '"' && quote != '\'')
		return wrong_at(r, begin, " takes a text in quotes", key->name);
	for (r->at++; next(r) != quote; r->at++) {
		if (next(r) == NOTHING || next(r) == '\n')
			return wrong_at(r, begin, "'s text has no end in its line", key->name);
		if (next(r) == '\\') {
			r->at++;
			if (next(r) != '\\' && next(r) != '"' && next(r) != '\'')
				return wrong_at(r, r->at - 1, "only \\\\, \\\" and \\' are known",
						"");
		}
		if (next(r) < ' ' || next(r) > '~' || (key->value == WORD && !is_in_word(next(r))))
			return wrong_at(r, r->at, "'s text may not have this character", key->name);
		if (len == key->most)
			return wrong_at(r, begin, "'s text is too long", key->name);
		digits += next(r) >= '0' && next(r) <= '9';
		to[len++] = *r->at;
	}
	r->at++;
	to[len] = 0;
	if (key->value == WORD && len && digits == len)
		return wrong_at(r, begin, " of digits alone would be a number", key->name);
	return len < key->least ? wrong_at(r, begin, "'s text is empty", key->name) : 0;
}

/* Its digit in this base; NOTHING: it is none. */
static int
digit(int c, unsigned base)
{
	int value = c >= '0' && c <= '9'   ? c - '0'
		    : c >= 'a' && c <= 'f' ? c - 'a' + 10
		    : c >= 'A' && c <= 'F' ? c - 'A' + 10
					   : NOTHING;

	return value < (int)base ? value : NOTHING;
}

static int
read_number(struct reader *r, uint64_t *to, const struct key *key)
{
	const char *begin = r->at;
	int quote = next(r) == '"' || next(r) == '\'' ? next(r) : 0;
	unsigned base = 10, digits = 0;
	char words[48];

	r->at += quote != 0;
	if (next(r) == '0') {
		base = 8;
		digits = 1;
		r->at++;
		if (next(r) == 'x' || next(r) == 'X') {
			base = 16;
			digits = 0;
			r->at++;
		}
	}
	for (*to = 0; digit(next(r), base) != NOTHING; r->at++, digits++)
		if (*to <= key->most) /* what is too much already stays so */
			*to = *to * base + (unsigned)digit(next(r), base);
	if (!digits || is_in_word(next(r)) || (quote && next(r) != quote))
		return wrong_at(r, begin, " takes a number", key->name);
	r->at += quote != 0;
	if (*to >= key->least && *to <= key->most)
		return 0;
	snprintf(words, sizeof(words), " is a number from %u to %u", (unsigned)key->least,
		 (unsigned)key->most);
	return wrong_at(r, begin, words, key->name);
}

/* By enum config_action, or enum config_type. */
static int
read_choice(struct reader *r, uint64_t *to, const struct key *key)
{
	static const char *const actions[] = { "destroy", "restart", "preserve", NULL };
	static const char *const types[] = { "pv", "pvh", NULL };
	const char *const *words = key->value == TYPE ? types : actions, *begin = r->at;
	char word[CHOICE_MAX + 1];
	int err = read_text(r, word, key);

	for (*to = 0; !err && words[*to]; ++*to)
		if (!strcmp(word, words[*to]))
			return 0;
	return err ? err
		   : wrong_at(r, begin,
			      key->value == TYPE ? " is \"pv\" or \"pvh\""
						 : " is \"destroy\", \"restart\" or \"preserve\"",
			      key->name);
}

/* A text that says what a disk or a card is to be. */
static int
read_device(struct reader *r, struct config *c, const struct key *key)
{
	bool disk = key->value == DISKS;
	uint64_t *count = disk ? &c->disks : &c->vifs;
	struct config_place at = place_of(r, r->at);
	char words[DISK_WORDS > VIF_WORDS ? DISK_WORDS : VIF_WORDS];
	const char *wrong;
	int err;

	if (*count == (disk ? CONFIG_DISKS : CONFIG_VIFS))
		return wrong_at(r, r->at, "'s list is longer than a domain has room for",
				key->name);
	err = read_text(r, words, key);
	if (err)
		return err;
	wrong = disk ? disk_read(&c->disk[*count], words) : vif_read(&c->vif[*count], words);
	if (wrong) {
		r->wrong->at = at;
		snprintf(r->wrong->words, sizeof(r->wrong->words), "%s", wrong);
		return -EINVAL;
	}
	(disk ? c->disk_at : c->vif_at)[(*count)++] = at;
	return 0;
}

/* "1f0-1f7", "3f6" */
static int
read_ports(struct reader *r, struct config *c, const struct key *key)
{
	const char *begin = r->at;
	uint64_t n[2] = { 0, 0 };
	unsigned which = 0, digits = 0;
	char words[16];
	int err =
		c->ioports == CONFIG_PORTS
			? wrong_at(r, begin, "'s list is longer than there is room for", key->name)
			: read_text(r, words, key);

	if (err)
		return err;
	for (const char *w = words; *w; w++) {
		if (*w == '-' && digits && !which) {
			which++;
			digits = 0;
		} else if (digit(*w, 16) != NOTHING && digits < 4) {
			n[which] = n[which] * 16 + (unsigned)digit(*w, 16);
			digits++;
		} else {
			return wrong_at(r, begin, " are hexadecimal: '3f6', '1f0-1f7'", key->name);
		}
	}
	if (!which)
		n[1] = n[0];
	if (!digits || n[1] < n[0])
		return wrong_at(r, begin, " are hexadecimal: '3f6', '1f0-1f7'", key->name);
	c->ioport[c->ioports++] = (struct config_ports){ (uint16_t)n[0], (uint16_t)n[1] };
	return 0;
}

static int
read_line(struct reader *r, struct config *c, const struct key *key)
{
	if (c->irqs == CONFIG_LINES)
		return wrong_at(r, r->at, "'s list is longer than there is room for", key->name);
	return read_number(r, &c->irq[c->irqs++], key);
}

static int
read_element(struct reader *r, struct config *c, const struct key *key)
{
	return key->value == PORTS   ? read_ports(r, c, key)
	       : key->value == LINES ? read_line(r, c, key)
				     : read_device(r, c, key);
}

static const char *
example(enum value list)
{
	return list == DISKS   ? " takes a list: [ 'FILE, raw, xvda, rw' ]"
	       : list == VIFS  ? " takes a list: [ 'ip=10.0.2.7' ]"
	       : list == PORTS ? " takes a list: [ '1f0-1f7', '3f6' ]"
			       : " takes a list: [ 14 ]";
}

/* Texts between [ and ], with commas between them; one behind the last is let be. */
static int
read_list(struct reader *r, struct config *c, const struct key *key)
{
	int err = 0;

	if (next(r) != '[')
		return wrong_at(r, r->at, example(key->value), key->name);
	for (r->at++; !err; r->at++) {
		skip_space(r);
		if (next(r) == ']') {
			r->at++;
			return 0;
		}
		err = read_element(r, c, key);
		skip_space(r);
		if (!err && next(r) == ']') {
			r->at++;
			return 0;
		}
		if (!err && next(r) != ',')
			err = wrong_at(r, r->at, "'s list has no comma here, and no end",
				       key->name);
	}
	return err;
}

static const struct key *
find_key(const char *word, size_t len)
{
	for (unsigned k = 0; k < KEYS; k++)
		if (strlen(keys[k].name) == len && !memcmp(keys[k].name, word, len))
			return &keys[k];
	return NULL;
}

/* KEY = VALUE, up to the line's end, or a semicolon. */
static int
read_one(struct reader *r, struct config *c, unsigned *seen)
{
	const char *word = r->at;
	const struct key *key;
	void *to;
	int err;

	while (is_in_word(next(r)))
		r->at++;
	key = find_key(word, (size_t)(r->at - word));
	if (r->at == word)
		return wrong_at(r, word, "here a key is to begin", "");
	if (!key)
		return wrong_at(r, word, NO_SUCH_KEY, "");
	if (*seen & 1u << (key - keys))
		return wrong_at(r, word, " is there twice", key->name);
	*seen |= 1u << (key - keys);
	skip_blanks(r);
	if (next(r) != '=')
		return wrong_at(r, r->at, " wants a = behind it", key->name);
	r->at++;
	skip_blanks(r);
	to = (char *)c + key->at;
	*(struct config_place *)((char *)c + key->place) = place_of(r, r->at);
	err = key->value == NUMBER                         ? read_number(r, to, key)
	      : key->value == ACTION || key->value == TYPE ? read_choice(r, to, key)
	      : key->value >= LISTS                        ? read_list(r, c, key)
							   : read_text(r, to, key);
	if (err)
		return err;
	skip_blanks(r);
	if (next(r) != NOTHING && next(r) != '\n' && next(r) != ';' && next(r) != '#')
		return wrong_at(r, r->at, "'s value has something behind it", key->name);
	return 0;
}

int
config_read(struct config *c, const char *text, size_t len, struct config_wrong *wrong)
{
	struct reader r = { text, text + len, text, 1, wrong };
	unsigned seen = 0;
	int err = 0;

	memset(c, 0, sizeof(*c));
	c->vcpus = 1;
	c->on_reboot = CONFIG_RESTART;
	while (!err && skip_lines(&r))
		err = read_one(&r, c, &seen);
	for (unsigned k = 0; k < KEYS && !err; k++)
		if (keys[k].must && !(seen & 1u << k))
			err = wrong_at(&r, r.at, " is missing", keys[k].name);
	return err;
}

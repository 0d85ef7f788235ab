/*
 * A disk's parameters: disk.h.
 */
#include <guest/dom0/disk.h>
#include <guest/pv/lib/text.h>

#define MAJOR 202u /* xvd's: 16 numbers for each letter, one of them the whole */

static bool
begins(const char *text, const char *with)
{
	while (*with && *text == *with)
		text++, with++;
	return !*with;
}

unsigned
disk_number(const char *name)
{
	unsigned part = 0;

	if (!begins(name, "xvd") || name[3] < 'a' || name[3] > 'p')
		return 0;
	for (const char *c = name + 4; *c; c++) {
		if (*c < '0' || *c > '9' || (c == name + 4 && *c == '0'))
			return 0;
		part = part * 10 + (unsigned)(*c - '0');
		if (part > 15)
			return 0;
	}
	return MAJOR << 8 | (unsigned)(name[3] - 'a') << 4 | part;
}

/* The number that these digits are; where they end. NULL: none, or more than `most`. */
static const char *
decimal(const char *c, unsigned most, unsigned *number)
{
	const char *first = c;

	for (*number = 0; *c >= '0' && *c <= '9' && *number <= most; c++)
		*number = *number * 10 + (unsigned)(*c - '0');
	return c > first && *number <= most ? c : NULL;
}

/* Linux has 12 bits for the one, and 20 for the other (include/linux/kdev_t.h). */
bool
disk_numbers(const struct disk *d, unsigned *major, unsigned *minor)
{
	const char *end = d->device ? decimal(d->target, (1u << 12) - 1, major) : NULL;

	if (!end || *end != ':')
		return false;
	end = decimal(end + 1, (1u << 20) - 1, minor);
	return end && !*end;
}

/* By place, and by these names. */
enum place { TARGET, FORMAT, VDEV, ACCESS, BY_PLACE, BACKEND = BY_PLACE, PLACES };
static const char *const names[PLACES] = { "target=", "format=", "vdev=", "access=", "backend=" };

/* What is in front of the next comma, without blanks around it; where that ends. */
static const char *
cut(const char *words, char *to, size_t size, bool all)
{
	const char *end = words, *last;

	while (*words == ' ')
		words++;
	while (*end && (all || *end != ','))
		end++;
	for (last = end; last > words && last[-1] == ' '; last--)
		;
	snprintf(to, size, "%.*s", (int)(last - words), words);
	return end;
}

static const char *
fill(struct disk *d, enum place place, const char *word)
{
	switch (place) {
	case TARGET:
		if (begins(word, "/dev/")) {
			d->device = true;
			word += strlen("/dev/");
		}
		if (strlen(word) >= sizeof(d->target))
			return "the file's name is too long";
		snprintf(d->target, sizeof(d->target), "%s", word);
		return NULL;
	case FORMAT:
		return !*word || !strcmp(word, "raw") ? NULL : "the one format here is raw";
	case VDEV:
		d->number = strlen(word) < sizeof(d->name) ? disk_number(word) : 0;
		snprintf(d->name, sizeof(d->name), "%s", word);
		return d->number ? NULL : "vdev is xvda to xvdp, or a part of one: xvda1";
	case BACKEND:
		if (strlen(word) >= sizeof(d->backend))
			return "the back end's name is too long";
		snprintf(d->backend, sizeof(d->backend), "%s", strcmp(word, "dom0") ? word : "");
		return NULL;
	default:
		d->readonly = !strcmp(word, "r") || !strcmp(word, "ro");
		return d->readonly || !*word || !strcmp(word, "w") || !strcmp(word, "rw")
			       ? NULL
			       : "access is r, ro, w or rw";
	}
}

const char *
disk_read(struct disk *d, const char *words)
{
	enum place next = TARGET;
	const char *wrong = NULL;
	bool device = begins(words, "phy:"), old = device || begins(words, "file:"), more = true;

	memset(d, 0, sizeof(*d));
	d->device = device;
	for (words += device ? strlen("phy:")
		      : old  ? strlen("file:")
			     : 0;
	     more && !wrong; words++) {
		char word[DISK_WORDS];
		enum place place = TARGET;
		const char *rest;

		rest = cut(words, word, sizeof(word), false);
		while (place < PLACES && !begins(word, names[place]))
			place++;
		if (place == TARGET) /* a comma belongs to it, too */
			rest = cut(words, word, sizeof(word), true);
		if (place < PLACES)
			wrong = fill(d, place, word + strlen(names[place]));
		else if (next == BY_PLACE)
			wrong = "there are more parameters than target, format, vdev, access";
		else
			wrong = fill(d, next, word);
		if (place == PLACES)
			next += next == TARGET && old ? 2 : 1;
		more = *rest;
		words = rest;
	}
	if (wrong)
		return wrong;
	return !*d->target ? "it names no file" : d->number ? NULL : "it has no vdev";
}

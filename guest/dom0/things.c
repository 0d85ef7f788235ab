/*
 * The shell's commands about what dom0 has itself: files, drives, a network card.
 */
#include <guest/dom0/dom0.h>
#include <guest/dom0/media.h>
#include <guest/dom0/nic.h>
#include <guest/dom0/sparse.h>
#include <guest/pv/drivers/crc.h>

#define CAT_MAX 4096u /* bytes: a page, so that a sparse file has them in one piece */

void
run_disks(const char *word)
{
	media_list();
}

void
run_nic(const char *word)
{
	nic_show();
}

/* "d12| ": a domain has said that, which is shown already. */
static bool
is_a_domains(const char *line)
{
	const char *c = line + 1;

	while (*c >= '0' && *c <= '9')
		c++;
	return *line == 'd' && c > line + 1 && *c == '|';
}

/* What the monitor has said, by lines; the first may have lost its beginning. */
void
run_dmesg(const char *word)
{
	struct zeno_said s = { .next = 0 };
	char line[200];
	unsigned len = 0;

	while (!control(ZENO_SAID, s.next, (uint64_t)&s, 0) && s.len)
		for (unsigned n = 0; n < s.len; n++) {
			bool ends = s.text[n] == '\n' || len == sizeof(line) - 1;

			line[ends ? len : len++] = ends ? '\0' : s.text[n];
			if (!ends)
				continue;
			if (!is_a_domains(line))
				say("%s\n", line);
			len = 0;
		}
}

/* By dom0's own right, which is any: also what another one's driver believes then. */
void
run_xenstore_write(const char *word)
{
	if (!daemon_write(word, shell_word(1)))
		say("%s: the store does not take it\n", word);
}

static void
no_file(const char *name)
{
	say("there is no file %s; `ls` shows those that there are\n", name);
}

void
run_crc(const char *word)
{
	struct file f;

	if (sparse_find(word))
		say("%x %s\n", sparse_crc(sparse_find(word)), word);
	else if (file_find(word, &f))
		say("%x %s\n", crc32(0, f.bytes, f.size), f.name);
	else
		no_file(word);
}

/* NULL: there is none, which is said. Else its first bytes; of a sparse one, of its first page. */
static const uint8_t *
beginning(const char *name, uint64_t *size)
{
	struct sparse *s = sparse_find(name);
	struct file f;

	if (!s && !file_find(name, &f)) {
		no_file(name);
		return NULL;
	}
	*size = s ? s->size : f.size;
	return s ? sparse_page(s, 0, false) : f.bytes;
}

/* A terminal would obey what a domain has written there: it gets text, and no NULs. */
void
run_cat(const char *word)
{
	uint64_t size;
	const uint8_t *bytes = beginning(word, &size);
	char last = '\n';

	if (!bytes)
		return;
	for (unsigned n = 0; n < CAT_MAX && n < size; n++) {
		if (!bytes[n])
			continue;
		last = bytes[n] == '\n' || (bytes[n] >= ' ' && bytes[n] < 0x7f) ? (char)bytes[n]
										: '.';
		say("%c", last);
	}
	if (last != '\n')
		say("\n");
	if (size > CAT_MAX)
		say("... of %lu bytes the first %u\n", size, CAT_MAX);
}

void
run_ls(const char *word)
{
	struct file f = { .name = NULL };
	struct sparse *s = NULL;

	while (file_next(&f))
		say("%8lu %s\n", f.size, f.name);
	while ((s = sparse_next(s)))
		say("%8lu %s, sparse, %lu KiB of memory\n", s->size, s->name, s->pages * 4);
}

/* As its namesake says a size: 512, 4K, 16M. */
void
run_truncate(const char *word)
{
	static const char units[] = "KMG";
	const char *wrong = NULL, *unit = word;
	uint64_t size = 0;

	for (; *unit >= '0' && *unit <= '9' && size <= SPARSE_MAX; unit++)
		size = size * 10 + (unsigned)(*unit - '0');
	for (unsigned n = 0; units[n] && *unit; n++)
		if (*unit == units[n]) {
			size <<= 10 * (n + 1);
			unit++;
			break;
		}
	wrong = *unit ? "that is no size: 512, 4K, 16M" : sparse_make(shell_word(1), size);
	if (wrong)
		say("%s: %s\n", shell_word(1), wrong);
}

void
run_rm(const char *word)
{
	const char *wrong = sparse_remove(word);

	if (wrong)
		say("%s: %s\n", word, wrong);
}

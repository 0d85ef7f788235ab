/*
 * A boot module's words: its path, and options for `start` up to a `--`, which make it a guest that
 * is started by its name alone; then the guest's own. Without `--` all are the guest's.
 */
#include <vmm/load/load.h>

static const char *
skip(const char *p, bool blanks)
{
	while (*p && (*p == ' ') == blanks)
		p++;
	return p;
}

/* Where the `--` stands; NULL: nowhere. */
static const char *
options_end(const struct module *m)
{
	for (const char *p = skip(m->words, false); *p; p = skip(p, false)) {
		p = skip(p, true);
		if (!strncmp(p, "-- ", 3) || !strcmp(p, "--"))
			return p;
	}
	return NULL;
}

const char *
module_own_words(const struct module *m)
{
	const char *end = options_end(m);

	return skip(end ? end + 2 : skip(m->words, false), true);
}

int
module_options(const struct module *m, struct module_options *o)
{
	const char *end = options_end(m), *p = skip(skip(m->words, false), true);
	int argc = 2; /* as behind `start NAME` */

	for (; end && p < end && argc < MODULE_OPTIONS; p = skip(skip(p, false), true)) {
		o->argv[argc] = o->text[argc];
		snprintf(o->text[argc], sizeof(o->text[argc]), "%.*s", (int)(skip(p, false) - p),
			 p);
		argc++;
	}
	return argc;
}

/*
 * The boot command line: `[image] word key=value ... -- command; command`.
 */
#include <kern/host.h>
#include <kern/kern.h>

#define CMDLINE_MAX 2048

static char line[CMDLINE_MAX]; /* the options, each ended by a NUL */
static size_t options_end;
static const char *commands = "";

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Where the word ` -- ` starts, or the end. */
static char *
find_separator(char *s)
{
	for (char *p = s; *p; p++)
		if (p[0] == '-' && p[1] == '-' && (p == s || is_space(p[-1])) &&
		    (!p[2] || is_space(p[2])))
			return p;
	return s + strlen(s);
}

void
cmdline_init(const char *from)
{
	size_t length = strlen(from);
	char *separator;

	if (length >= sizeof(line)) {
		printf("cmdline: only the first %lu of %lu characters are used\n", sizeof(line) - 1,
		       length);
		length = sizeof(line) - 1;
	}
	memcpy(line, from, length);
	line[length] = '\0';
	separator = find_separator(line);
	if (*separator) {
		commands = separator + 2;
		*separator = '\0';
	}
	options_end = (size_t)(separator - line);
	for (size_t i = 0; i < options_end; i++)
		if (is_space(line[i]))
			line[i] = '\0';
}

const char *
cmdline_get(const char *key, const char *fallback)
{
	size_t length = strlen(key);

	for (const char *word = line; word < line + options_end; word += strlen(word) + 1) {
		if (strncmp(word, key, length))
			continue;
		if (word[length] == '=')
			return word + length + 1;
		if (!word[length]) /* `paranoid` alone means `paranoid=1` */
			return "1";
	}
	return fallback;
}

const char *
cmdline_commands(void)
{
	while (is_space(*commands))
		commands++;
	return commands;
}

/* Prints the lines of its input (or of a file) that have a word in them. */
#include <guest/os/libc/user.h>

static int
has(const char *line, const char *word)
{
	size_t n = strlen(word);

	for (; *line; line++)
		if (!strncmp(line, word, n))
			return 1;
	return !n;
}

int
main(int argc, char **argv)
{
	struct reader in = { .fd = 0 };
	int found = 0;
	char *line;

	if (argc < 2)
		fail("usage: grep word [file]");
	if (argc > 2)
		in.fd = open(argv[2], O_READ);
	if (in.fd < 0)
		fail("grep: %s: not found", argv[2]);
	while ((line = next_line(&in))) {
		if (!has(line, argv[1]))
			continue;
		printf("%s\n", line);
		found = 1;
	}
	return !found;
}

/* Sorts the lines of its input or of a file. */
#include <guest/os/libc/user.h>

int
main(int argc, char **argv)
{
	struct reader in = { .fd = argc > 1 ? open(argv[1], O_READ) : 0 };
	char **lines = alloc(1000 * sizeof(char *));
	int count = 0;
	char *line;

	if (in.fd < 0)
		fail("sort: %s: not found", argv[1]);
	while ((line = next_line(&in)) && count < 1000) {
		size_t n = strlen(line) + 1;
		int i = count++;
		char *kept = alloc((uint32_t)n);

		memcpy(kept, line, n);
		for (; i > 0 && strcmp(lines[i - 1], kept) > 0; i--)
			lines[i] = lines[i - 1];
		lines[i] = kept;
	}
	for (int i = 0; i < count; i++)
		printf("%s\n", lines[i]);
	return 0;
}

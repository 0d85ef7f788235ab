/* Counts lines, words and bytes of its input or of a file. */
#include <guest/os/libc/user.h>

int
main(int argc, char **argv)
{
	static char buffer[1024];
	uint32_t lines = 0, words = 0, bytes = 0;
	int fd = argc > 1 ? open(argv[1], O_READ) : 0, inside = 0, n;

	if (fd < 0)
		fail("wc: %s: not found", argv[1]);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		bytes += (uint32_t)n;
		for (int i = 0; i < n; i++) {
			int space = buffer[i] == ' ' || buffer[i] == '\n';

			lines += buffer[i] == '\n';
			words += !inside && !space;
			inside = !space;
		}
	}
	printf("%6u %6u %6u\n", lines, words, bytes);
	return 0;
}

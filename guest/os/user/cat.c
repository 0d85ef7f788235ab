/* Copies files, or its input, to its output. */
#include <guest/os/libc/user.h>

static void
cat(int fd)
{
	static char buffer[1024];
	int n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		if (write(1, buffer, (uint32_t)n) != n)
			fail("cat: write error");
}

int
main(int argc, char **argv)
{
	if (argc == 1)
		cat(0);
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_READ);

		if (fd < 0)
			fail("cat: %s: not found", argv[i]);
		cat(fd);
		close(fd);
	}
	return 0;
}

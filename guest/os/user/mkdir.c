/* Makes directories. */
#include <guest/os/libc/user.h>

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (mkdir(argv[i]) < 0)
			fail("mkdir: %s: it can't be made", argv[i]);
	return 0;
}

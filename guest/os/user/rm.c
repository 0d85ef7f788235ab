/* Removes files and empty directories. */
#include <guest/os/libc/user.h>

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (unlink(argv[i]) < 0)
			fail("rm: %s: it can't be removed", argv[i]);
	return 0;
}

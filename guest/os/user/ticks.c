/*
 * Runs a command, and prints how far the time-stamp counter went: instructions, on an emulator that
 * counts them.
 */
#include <guest/os/libc/user.h>

int
main(int argc, char **argv)
{
	uint32_t start = tsc();
	int status;

	if (argc < 2)
		fail("usage: ticks command");
	status = wait_for(run(argv + 1));
	printf("ticks: %u\n", tsc() - start);
	return status;
}

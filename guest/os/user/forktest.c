/*
 * Forks until there is no room for one more process, then waits for all; twice, to see that nothing
 * is lost.
 */
#include <guest/os/libc/user.h>

static int
fork_all(void)
{
	int hold[2], count = 0, pid;
	char c;

	if (pipe(hold) < 0)
		fail("forktest: no pipe");
	while ((pid = fork()) > 0)
		count++;
	if (!pid) {
		close(hold[1]);
		read(hold[0], &c, 1); /* it lives until the parent closes the pipe */
		exit(count % 7);
	}
	close(hold[0]);
	close(hold[1]);
	return count;
}

static void
wait_all(int count)
{
	int status, sum = 0, expected = 0;

	for (int i = 0; i < count; i++) {
		if (wait(&status) < 0)
			fail("forktest: a child is missing");
		sum += status;
		expected += i % 7;
	}
	if (wait(&status) != -1)
		fail("forktest: one child too many");
	printf("forktest: %d children, statuses add up to %d of %d\n", count, sum, expected);
}

int
main(int argc, char **argv)
{
	uint32_t before = frames();

	for (int i = 0; i < 2; i++)
		wait_all(fork_all());
	printf("forktest: %d frames are missing\n", (int)(before - frames()));
	return 0;
}

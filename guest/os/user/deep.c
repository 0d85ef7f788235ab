/* Recursion: the stack grows as it is touched, up to its end. */
#include <guest/os/libc/user.h>

static int
depth(int n)
{
	volatile char room[1000];

	room[0] = (char)n;
	return n ? depth(n - 1) + (room[0] == (char)n) : 0;
}

int
main(int argc, char **argv)
{
	int pid;

	printf("depth 200: %d\n", depth(200));
	pid = fork();
	if (!pid)
		exit(depth(100000));
	return wait_for(pid) == -1 ? 0 : 1;
}

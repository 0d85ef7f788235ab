/*
 * kill: of a program that computes for ever, of one that sleeps, of one that waits for a pipe, and
 * of nobody.
 */
#include <guest/os/libc/user.h>

static void
victim(int kind)
{
	int fd[2];
	char c;

	while (kind == 0)
		;
	if (kind == 1)
		sleep(0x7fffffff);
	pipe(fd);
	read(fd[0], &c, 1);
}

int
main(int argc, char **argv)
{
	static const char *const names[] = { "computes", "sleeps", "waits for a pipe" };

	for (int kind = 0; kind < 3; kind++) {
		int pid = fork();

		if (!pid) {
			victim(kind);
			exit(0);
		}
		sleep(2); /* it has begun by then, and if not, it dies as well */
		kill(pid);
		printf("the one that %s: status %d\n", names[kind], wait_for(pid));
	}
	printf("nobody: %d\n", kill(12345));
	return 0;
}

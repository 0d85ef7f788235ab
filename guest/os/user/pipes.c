/* A sieve of processes, one for each prime, joined by pipes. */
#include <guest/os/libc/user.h>

#define BELOW 100

/*
 * Prints the first number that comes, and passes on what it does not divide. Returns in the child:
 * its input.
 */
static int
filter(int in)
{
	int prime, n, out[2], pid;

	if (read(in, &prime, sizeof(prime)) != sizeof(prime))
		exit(0);
	printf("%d ", prime);
	if (pipe(out) < 0 || (pid = fork()) < 0)
		fail("pipes: there are too many");
	if (!pid) {
		close(in);
		close(out[1]);
		return out[0];
	}
	close(out[0]);
	while (read(in, &n, sizeof(n)) == sizeof(n))
		if (n % prime)
			write(out[1], &n, sizeof(n));
	close(out[1]);
	wait_for(pid);
	exit(0);
}

int
main(int argc, char **argv)
{
	int out[2], pid;

	if (pipe(out) < 0)
		fail("pipes: there is none");
	pid = fork();
	if (!pid) {
		close(out[1]);
		for (int in = out[0];;)
			in = filter(in);
	}
	close(out[0]);
	for (int n = 2; n < BELOW; n++)
		write(out[1], &n, sizeof(n));
	close(out[1]);
	wait_for(pid);
	printf("\n");
	return 0;
}

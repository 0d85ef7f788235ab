/*
 * Several processes that compute, write files and fork, all at once: preemption must not change
 * what comes out.
 */
#include <guest/os/libc/user.h>

#define WORKERS 6
#define ROUNDS  40

static uint32_t
work(uint32_t seed)
{
	char name[] = "/tmp/stress0";
	uint32_t sum = 0, back;

	name[11] = (char)('0' + seed);
	for (int round = 0; round < ROUNDS; round++) {
		int fd = open(name, O_WRITE | O_CREATE | O_TRUNC);

		for (int i = 0; i < 2000; i++)
			sum += mix(&seed);
		write(fd, &sum, sizeof(sum));
		close(fd);
		fd = open(name, O_READ);
		if (read(fd, &back, sizeof(back)) != sizeof(back) || back != sum)
			fail("stress: %s has changed", name);
		close(fd);
		if (round % 10 == 0 && fork() == 0)
			exit((int)sum);
	}
	for (int status; wait(&status) != -1;)
		sum ^= (uint32_t)status;
	unlink(name);
	return sum;
}

int
main(int argc, char **argv)
{
	int pids[WORKERS], statuses[WORKERS] = { 0 }, status, pid;

	for (uint32_t i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		if (!pids[i])
			exit((int)work(i));
	}
	while ((pid = wait(&status)) != -1)
		for (int i = 0; i < WORKERS; i++)
			if (pids[i] == pid)
				statuses[i] = status;
	for (int i = 0; i < WORKERS; i++)
		printf("worker %d: %08x\n", i, (uint32_t)statuses[i]);
	return 0;
}

/* Processes: fork, copy-on-write, exec, exit, wait. */
#include <guest/os/libc/user.h>

#define ROUNDS 240
#define WORDS  16384

static uint32_t words[WORDS];

/* Writes every fourth page of what it shares with its parent. */
static int
child(uint32_t round)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < WORDS; i += 4096)
		words[i] = round;
	for (uint32_t i = 0; i < WORDS; i += 64)
		sum += words[i];
	return (int)(sum & 0xffff);
}

int
main(int argc, char **argv)
{
	char *again[] = { "bench-fork", "-", NULL };
	uint32_t sum = 0;

	if (argc > 1)
		return 7;
	for (uint32_t i = 0; i < WORDS; i++)
		words[i] = i;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		int pid = fork();

		if (!pid)
			exit(child(round));
		sum = sum * 31 + (uint32_t)wait_for(pid);
		sum = sum * 31 + (uint32_t)wait_for(run(again));
	}
	printf("bench-fork: %08x\n", sum);
	return 0;
}

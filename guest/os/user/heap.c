/*
 * Demand paging: a heap larger than memory costs what is touched, and touching too much ends the
 * program alone.
 */
#include <guest/os/libc/user.h>

#define MIB   (1u << 20)
#define SIZE  (256 * MIB)
#define PAGES (SIZE / 4096)

/* One word in each MiB, then all of them again. */
static void
sparse(volatile uint32_t *heap)
{
	uint32_t sum = 0, before = frames();

	for (uint32_t at = 0; at < SIZE / 4; at += MIB / 4)
		sum += heap[at];
	printf("heap: a fresh heap adds up to %u\n", sum);
	for (uint32_t at = 0; at < SIZE / 4; at += MIB / 4)
		heap[at] = at / (MIB / 4);
	for (uint32_t at = 0; at < SIZE / 4; at += MIB / 4)
		sum += heap[at];
	printf("heap: then to %u, in less than 400 frames: %s\n", sum,
	       before - frames() < 400 ? "yes" : "no");
}

int
main(int argc, char **argv)
{
	volatile uint32_t *heap = sbrk(SIZE);
	uint32_t before = frames();
	int pid = fork();

	if (!pid) {
		sparse(heap);
		for (uint32_t page = 0; page < PAGES; page++)
			heap[page * 1024] = page;
		exit(0); /* not reached: there is less memory than that */
	}
	printf("heap: status %d\n", wait_for(pid));
	printf("heap: %d frames are missing\n", (int)(before - frames()));
	return 0;
}

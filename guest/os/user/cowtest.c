/*
 * Copy-on-write: fork copies no data, a write copies one page, and neither side sees the other's.
 */
#include <guest/os/libc/user.h>

#define PAGES 256
#define PAGE  4096

static int *
page(char *memory, int i)
{
	return (int *)(memory + i * PAGE);
}

static int
sum(char *memory)
{
	int total = 0;

	for (int i = 0; i < PAGES; i++)
		total += *page(memory, i);
	return total;
}

/* The child: reads all, writes ten pages, and tells what that took. */
static int
child(char *memory, uint32_t before)
{
	uint32_t forked = frames(), written;

	printf("child: fork took less than %d frames: %s\n", PAGES / 8,
	       before - forked < PAGES / 8 ? "yes" : "no");
	printf("child: sum %d\n", sum(memory));
	written = frames();
	for (int i = 0; i < 10; i++)
		*page(memory, i * 20) = -1;
	printf("child: ten writes took %u frames\n", written - frames());
	printf("child: sum %d\n", sum(memory));
	return 0;
}

int
main(int argc, char **argv)
{
	char *memory = sbrk(PAGES * PAGE);
	uint32_t before;
	int pid;

	for (int i = 0; i < PAGES; i++)
		*page(memory, i) = i;
	before = frames();
	pid = fork();
	if (!pid)
		return child(memory, before);
	wait_for(pid);
	printf("parent: sum %d\n", sum(memory));
	for (int i = 0; i < PAGES; i++)
		*page(memory, i) += 1;
	printf("parent: sum %d, %d frames are missing\n", sum(memory), (int)(before - frames()));
	return 0;
}

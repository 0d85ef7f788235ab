/* Mistakes that end a program and nothing else: each in a child of its own. */
#include <guest/os/libc/user.h>

#define KERNEL   0xc0100000u
#define TEXT     0x400000u
#define UNMAPPED 0x00001000u

static void
read_kernel(void)
{
	(void)*(volatile char *)KERNEL;
}

static void
write_kernel(void)
{
	*(volatile char *)KERNEL = 0;
}

static void
write_text(void)
{
	*(volatile char *)TEXT = 0;
}

static void
write_unmapped(void)
{
	*(volatile char *)UNMAPPED = 0;
}

static void
divide(void)
{
	volatile int one = 1, zero = 0;

	one = one / zero;
}

/* Not a crash: the kernel looks at pointers before it uses them. */
static void
bad_arguments(void)
{
	printf("write from the kernel: %d\n", write(1, (void *)KERNEL, 10));
	printf("read into the text: %d\n", read(0, (void *)TEXT, 10));
	printf("a path that wraps: %d\n", open((char *)0xffffffff, O_READ));
	printf("bytes beyond the heap: %d\n", write(1, sbrk(0), 1));
	printf("no such call: %d\n", syscall(1000, 0, 0, 0));
	printf("no such descriptor: %d\n", write(77, "", 1));
}

static void (*const mistakes[])(void) = { read_kernel,    write_kernel, write_text,
					  write_unmapped, divide,       bad_arguments };

int
main(int argc, char **argv)
{
	for (unsigned i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		int pid = fork();

		if (!pid) {
			mistakes[i]();
			exit(0);
		}
		printf("mistake %u: status %d\n", i, wait_for(pid));
	}
	return 0;
}

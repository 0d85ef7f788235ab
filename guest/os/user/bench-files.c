/* The kernel at work: many files, small reads and writes, names, directories. */
#include <guest/os/libc/user.h>

#define ROUNDS 12
#define FILES  16
#define CHUNKS 64

static void
name_of(char *name, int i)
{
	memcpy(name, "/tmp/bench/f00", 15);
	name[12] = (char)('0' + i / 10);
	name[13] = (char)('0' + i % 10);
}

static void
write_file(const char *name, uint32_t *seed)
{
	int fd = open(name, O_WRITE | O_CREATE | O_TRUNC);
	uint32_t chunk[32];

	for (int i = 0; i < CHUNKS; i++) {
		for (int k = 0; k < 32; k++)
			chunk[k] = mix(seed);
		if (write(fd, chunk, sizeof(chunk)) != sizeof(chunk))
			fail("bench-files: %s: write error", name);
	}
	close(fd);
}

static uint32_t
read_file(const char *name)
{
	uint32_t word, sum = 0;
	int fd = open(name, O_READ);

	while (read(fd, &word, sizeof(word)) == sizeof(word))
		sum = sum * 31 + word;
	close(fd);
	return sum;
}

int
main(int argc, char **argv)
{
	uint32_t seed = 1, sum = 0;
	char name[15];

	mkdir("/tmp/bench");
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < FILES; i++) {
			name_of(name, i);
			write_file(name, &seed);
		}
		for (int i = 0; i < FILES; i++) {
			name_of(name, i);
			sum = sum * 31 + read_file(name);
			unlink(name);
		}
	}
	unlink("/tmp/bench");
	printf("bench-files: %08x\n", sum);
	return 0;
}

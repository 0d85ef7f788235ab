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
	uint32_t chunk[32] = { 0 };

	for (int i = 0; i < CHUNKS; i++) {
		chunk[i % 32] = mix(seed);
		if (write(fd, chunk, sizeof(chunk)) != sizeof(chunk))
			fail("bench-files: %s: write error", name);
	}
	close(fd);
}

static uint32_t
read_file(const char *name)
{
	uint32_t words[4], sum = 0;
	int fd = open(name, O_READ);

	while (read(fd, words, sizeof(words)) == sizeof(words))
		sum = (sum ^ words[0] ^ words[3]) * 16777619;
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
			sum = (sum ^ read_file(name)) * 16777619;
			unlink(name);
		}
	}
	unlink("/tmp/bench");
	printf("bench-files: %08x\n", sum);
	return 0;
}

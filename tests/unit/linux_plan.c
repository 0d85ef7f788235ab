/* BUILD: vmm/load/linux_plan.c */
/*
 * The loader of Linux kernels against images that lie: every field of the setup header that it
 * uses, and every truncation (BOOT, see vmm/load/linux.h). The image is a made-up one, in memory of
 * exactly its size, so that the sanitizers see a read beyond its end.
 */
#include <string.h>

#include <vmm/load/linux.h>

#include "tap.h"

#define MIB         (1ull << 20)
#define SETUP_SECTS 3
#define KERNEL      4096
#define SIZE        ((SETUP_SECTS + 1) * 512 + KERNEL)

static uint8_t good[SIZE];
static struct linux_plan p;

static void
put(uint8_t *image, unsigned at, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		image[at + i] = value >> (8 * i);
}

static void
make_good(void)
{
	memset(good, 0x90, sizeof(good));
	memset(good + LINUX_SETUP_SECTS, 0, LINUX_HEADER_MAX - LINUX_SETUP_SECTS);
	good[LINUX_SETUP_SECTS] = SETUP_SECTS;
	put(good, LINUX_SYSSIZE, 4, KERNEL / 16);
	put(good, LINUX_BOOT_FLAG, 2, 0xaa55);
	good[LINUX_JUMP] = 0x6a;
	memcpy(good + LINUX_HEADER, "HdrS", 4);
	put(good, LINUX_VERSION, 2, 0x020f);
	good[LINUX_LOADFLAGS] = LINUX_LOADED_HIGH;
	put(good, LINUX_INITRD_MAX, 4, 0x37ffffff);
	put(good, LINUX_CMDLINE_SIZE, 4, 2047);
	put(good, LINUX_PREF_ADDRESS, 8, 16 * MIB);
	put(good, LINUX_INIT_SIZE, 4, 8 * MIB);
}

/* What linux_plan() says of a copy that is exactly `size` bytes long. */
static const char *
verdict(const uint8_t *image, uint64_t size, uint64_t initrd, uint64_t ram)
{
	uint8_t *copy = malloc(size ? size : 1);
	const char *wrong;

	memcpy(copy, image, size);
	memset(&p, 0xee, sizeof(p));
	wrong = linux_plan(&p, copy, size, initrd, ram);
	free(copy);
	return wrong;
}

static void
refused(const char *what, unsigned at, unsigned size, uint64_t value, const char *word)
{
	uint8_t image[SIZE];
	const char *wrong;

	memcpy(image, good, SIZE);
	put(image, at, size, value);
	wrong = verdict(image, SIZE, 0, 64 * MIB);
	if (!ok(wrong && strstr(wrong, word), "refused: %s", what))
		diag("it says: %s", wrong ? wrong : "nothing");
}

static void
test_good(void)
{
	ok(!verdict(good, SIZE, 5000, 64 * MIB), "a sound image is taken");
	is_u64(p.kernel_from, (SETUP_SECTS + 1) * 512,
	       "its kernel begins behind the setup sectors");
	is_u64(p.kernel_size, KERNEL, "and is as long as syssize says");
	is_u64(p.header_end, 0x26c, "the header ends where the jump goes");
	is_u64(p.initrd_at, 64 * MIB - 2 * 4096, "the RAM disk lies at the end of memory");
	is_u64(p.cmdline_max, 2047, "cmdline_size is taken over");
	ok(!verdict(good, SIZE, 5000, 1024 * MIB) && p.initrd_at + 5000 <= 0x38000000,
	   "the RAM disk stays below initrd_addr_max");
	ok(!verdict(good, SIZE, 0, 64 * MIB) && !p.initrd_at, "no RAM disk, no place for one");
	ok(!verdict(good, SIZE, 0, 24 * MIB), "it fits where init_size just fits");
}

static void
test_fields(void)
{
	refused("no boot flag", LINUX_BOOT_FLAG, 2, 0x55aa, "no setup header");
	refused("no HdrS", LINUX_HEADER + 3, 1, 's', "no setup header");
	refused("protocol 2.09", LINUX_VERSION, 2, 0x0209, "older");
	refused("a header that ends too early", LINUX_JUMP, 1, 0x61, "length");
	refused("a header that runs into the memory map", LINUX_JUMP, 1, 0x8f, "length");
	refused("a zImage", LINUX_LOADFLAGS, 1, 0, "zImage");
	refused("no kernel", LINUX_SYSSIZE, 4, 0, "no protected-mode");
	refused("a kernel one paragraph too long", LINUX_SYSSIZE, 4, KERNEL / 16 + 1, "truncated");
	refused("a kernel of 64 GiB", LINUX_SYSSIZE, 4, 0xffffffff, "truncated");
	refused("too many setup sectors", LINUX_SETUP_SECTS, 1, 255, "truncated");
	refused("setup_sects 0, which means 4", LINUX_SETUP_SECTS, 1, 0, "truncated");
	refused("init_size of 4 GiB", LINUX_INIT_SIZE, 4, 0xffffffff, "mem=");
	refused("a preferred address beyond memory", LINUX_PREF_ADDRESS, 8, 65 * MIB, "mem=");
	refused("one that wraps", LINUX_PREF_ADDRESS, 8, ~0ull - 4096, "mem=");
}

/* The image says whether it has a 64-bit entry; only then the code must reach beyond it. */
static void
test_64(void)
{
	uint8_t image[SIZE];

	memcpy(image, good, SIZE);
	ok(!verdict(image, SIZE, 0, 64 * MIB) && !p.is_64, "a kernel of 32 bits");
	put(image, LINUX_XLOADFLAGS, 2, 0x3f);
	ok(!verdict(image, SIZE, 0, 64 * MIB) && p.is_64, "one that has a 64-bit entry");
	put(image, LINUX_XLOADFLAGS, 2, 0x3e);
	ok(!verdict(image, SIZE, 0, 64 * MIB) && !p.is_64, "flags that say other things");
	put(image, LINUX_SYSSIZE, 4, 512 / 16);
	ok(!verdict(image, SIZE, 0, 64 * MIB), "512 bytes are enough for a 32-bit entry");
	put(image, LINUX_XLOADFLAGS, 2, 1);
	ok(verdict(image, SIZE, 0, 64 * MIB) != NULL, "refused: they end at the 64-bit entry");
	put(image, LINUX_SYSSIZE, 4, 528 / 16);
	ok(!verdict(image, SIZE, 0, 64 * MIB) && p.is_64, "16 bytes more are code");
}

static void
test_memory(void)
{
	uint8_t image[SIZE];

	ok(verdict(good, SIZE, 0, 24 * MIB - 4096) != NULL, "refused: a page too little memory");
	ok(verdict(good, SIZE, 0, 1 * MIB) != NULL, "refused: no memory above 1 MiB");
	ok(!verdict(good, SIZE, 40 * MIB, 64 * MIB), "a RAM disk that just fits");
	ok(verdict(good, SIZE, 40 * MIB + 1, 64 * MIB) != NULL, "refused: one byte more");
	ok(verdict(good, SIZE, ~0ull, 64 * MIB) != NULL, "refused: a RAM disk of 16 EiB");
	memcpy(image, good, SIZE);
	put(image, LINUX_INITRD_MAX, 4, 0);
	ok(verdict(image, SIZE, 4096, 64 * MIB) != NULL, "refused: initrd_addr_max 0");
	put(image, LINUX_INITRD_MAX, 4, 0xffffffff);
	ok(!verdict(image, SIZE, 4096, 64 * MIB), "initrd_addr_max at the end of 4 GiB");
	put(image, LINUX_PREF_ADDRESS, 8, 0);
	ok(!verdict(image, SIZE, 0, 64 * MIB), "a preferred address below 1 MiB means 1 MiB");
}

static void
test_truncated(void)
{
	unsigned taken = 0;

	for (unsigned size = 0; size <= SIZE - 16; size++)
		taken += !verdict(good, size, 0, 64 * MIB);
	is_u64(taken, 0, "refused: every truncation");
	for (unsigned size = SIZE - 15; size < SIZE; size++)
		ok(!verdict(good, size, 0, 64 * MIB) && p.kernel_size == KERNEL - (SIZE - size),
		   "a last paragraph of %u bytes is what the file has of it", size % 16);
}

int
main(void)
{
	make_good();
	test_good();
	test_fields();
	test_64();
	test_memory();
	test_truncated();
	return done_testing();
}

/*
 * The monitor command `puzzle NAME` of exercise 0.2: what a debugger sees in it depends on the
 * name. Nothing that is asked depends on where the linker puts things, so an answer stays right
 * when the kernel around it changes.
 */
#include <inc/errno.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <kern/paging.h>

#define STEPS       16
#define SECRET_SIZE 8
#define LOW_FRAME   0x20 /* 128 KiB: RAM on every PC */
#define LOW_FRAMES  0x40

/* A person watches this one. */
volatile uint32_t puzzle_cell;

static NOINLINE void
walk_target(uint32_t value, unsigned step)
{
	__asm__ volatile("" : : "r"(value), "r"(step) : "memory");
}

static NOINLINE void
puzzle_secret(const uint8_t *secret)
{
	__asm__ volatile("" : : "r"(secret) : "memory");
}

/* The three differ in what they write, or the compiler would fold them into one. */
#define PUZZLE_COLOUR(name, mix)                                 \
	static NOINLINE void name(uint32_t value, unsigned step) \
	{                                                        \
		walk_target(value, step);                        \
		puzzle_cell = value ^ (mix);                     \
	}
typedef void colour_fn(uint32_t value, unsigned step);
static colour_fn puzzle_red, puzzle_green, puzzle_blue;
PUZZLE_COLOUR(puzzle_red, 0x1111)
PUZZLE_COLOUR(puzzle_green, 0x2222)
PUZZLE_COLOUR(puzzle_blue, 0x4444)

static void
walk(uint64_t *state)
{
	static colour_fn *const colours[] = { puzzle_red, puzzle_green, puzzle_blue };

	for (unsigned step = 1; step <= STEPS; step++) {
		uint32_t value = (uint32_t)(seeded_next(state) >> 16);

		colours[seeded_next(state) % ARRAY_LEN(colours)](value, step);
	}
}

static NOINLINE void
hide(uint64_t *state)
{
	uint64_t random = seeded_next(state);
	uint8_t secret[SECRET_SIZE];

	memcpy(secret, &random, sizeof(secret));
	puzzle_secret(secret);
}

/* Leaves one read-only page mapped in the scratch slot, for `page` and `walk`. */
static int
map_page(uint64_t *state)
{
	uint64_t va = SCRATCH_BASE + (seeded_next(state) % 512 * 513 << PAGE_SHIFT);
	mfn_t frame = mfn(LOW_FRAME + seeded_next(state) % LOW_FRAMES);
	uint64_t offset = seeded_next(state) & PAGE_MASK;
	int err = page_map(host_root, va, frame, PTE_P | PTE_NX);

	if (!err)
		printf("puzzle: the linear address is 0x%016lx\n", va + offset);
	return err;
}

static int
command_puzzle(int argc, char **argv)
{
	uint64_t state;
	uint32_t seed;

	if (argc != 2)
		return -EINVAL;
	seed = seeded_name(argv[1]);
	state = seeded_start(seed);
	printf("puzzle: the seed of %s is %u\n", argv[1], seed);
	walk(&state);
	hide(&state);
	return map_page(&state);
}
MONITOR_COMMAND(command_puzzle, "puzzle", "NAME", "what exercise 0.2 looks at");

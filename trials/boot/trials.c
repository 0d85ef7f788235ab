/*
 * Monitor commands that put Lab 0's exercises to the test: their order, depth and length come from
 * a seed, so that an answer can't be prepared. A debugger on the outside watches the functions that
 * are marked `noinline`; what is printed here is for people.
 */
#include <inc/errno.h>
#include <kern/frame.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/map.h>
#include <vmm/domain.h>

/* xorshift64 (G. Marsaglia, "Xorshift RNGs", 2003); never 0. */
uint64_t
seeded_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* Small seeds differ in few bits: a few rounds spread them. */
uint64_t
seeded_start(uint64_t seed)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15ul + 0x6a09e667f3bcc909ul;

	if (!state)
		state = 1;
	for (int i = 0; i < 8; i++)
		seeded_next(&state);
	return state;
}

/* FNV-1a, 32 bits (IETF draft-eastlake-fnv). */
uint32_t
seeded_name(const char *name)
{
	uint32_t h = 0x811c9dc5;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x01000193;
	return h;
}

/*
 * Exercise 0.3. Five functions call each other in a seeded order down to a seeded depth; the last
 * one calls backtrace(). Each works on after its call, so no call becomes a jump.
 */
struct descent {
	uint64_t state;
	unsigned left;
};

typedef unsigned step_fn(struct descent *d);
static step_fn trial_ash, trial_birch, trial_cedar, trial_elm, trial_fir;

static unsigned
descend(struct descent *d)
{
	static step_fn *const steps[] = { trial_ash, trial_birch, trial_cedar, trial_elm,
					  trial_fir };

	return steps[seeded_next(&d->state) % ARRAY_LEN(steps)](d);
}

static NOINLINE unsigned
trial_end(struct descent *d)
{
	uint64_t rip;

	__asm__ volatile("lea (%%rip), %0" : "=r"(rip));
	backtrace(rip, (uint64_t)__builtin_frame_address(0));
	return d->left;
}

/* `size` of the frame differs, or the compiler would fold the five into one. */
#define TRIAL_STEP(name, size)                                                      \
	static NOINLINE unsigned name(struct descent *d)                            \
	{                                                                           \
		volatile char room[size];                                           \
                                                                                    \
		room[0] = size;                                                     \
		return (d->left-- ? descend(d) : trial_end(d)) + (unsigned)room[0]; \
	}
TRIAL_STEP(trial_ash, 8)
TRIAL_STEP(trial_birch, 24)
TRIAL_STEP(trial_cedar, 40)
TRIAL_STEP(trial_elm, 56)
TRIAL_STEP(trial_fir, 104)

static int
command_bt_trial(int argc, char **argv)
{
	struct descent d;
	uint64_t seed;

	if (argc != 2 || parse_u64(argv[1], &seed))
		return -EINVAL;
	d.state = seeded_start(seed);
	d.left = 3 + (unsigned)(seeded_next(&d.state) % 10);
	printf("bt-trial: %u calls deep\n", d.left + 1);
	descend(&d);
	return 0;
}
MONITOR_COMMAND(command_bt_trial, "bt-trial", "SEED", "calls backtrace() from a seeded depth");

/* For tests of a chain that can't be followed. */
static int
command_backtrace_at(int argc, char **argv)
{
	uint64_t rbp;

	if (argc != 2 || parse_u64(argv[1], &rbp))
		return -EINVAL;
	backtrace((uint64_t)command_backtrace_at, rbp);
	return 0;
}
MONITOR_COMMAND(command_backtrace_at, "backtrace-at", "RBP", "");

/*
 * Exercise 0.4. A seeded run of allocations and frees; `held` knows what is allocated.
 */
#define HELD_MAX    128
#define TRIAL_COUNT 100000

struct frames_trial {
	uint64_t state, seq;
	struct frame *held[HELD_MAX];
	unsigned count, high;
};

/* Only there to be watched from outside. */
static NOINLINE void
frames_trial_got(struct frame *f, uint64_t number, uint64_t seq)
{
	__asm__ volatile("" : : "r"(f), "r"(number), "r"(seq) : "memory");
}

static NOINLINE void
frames_trial_gave(struct frame *f, uint64_t number, uint64_t seq)
{
	__asm__ volatile("" : : "r"(f), "r"(number), "r"(seq) : "memory");
}

static int
complain(const struct frames_trial *t, const struct frame *f, const char *what)
{
	printf("frames-trial: step %lu: frame %lx %s\n", t->seq, frame_mfn(f).v, what);
	return -EFAULT;
}

static bool
in_table(const struct frame *f)
{
	return f >= frames && f < frames + frame_count &&
	       ((uintptr_t)f - (uintptr_t)frames) % sizeof(*f) == 0;
}

/* Fills the frame with its number or, with `check`, tells whether it still holds that. */
static bool
pattern(struct frame *f, bool check)
{
	uint64_t *word = mfn_ptr(frame_mfn(f)), key = frame_mfn(f).v * 0x9e3779b97f4a7c15ul;

	for (size_t i = 0; i < PAGE_SIZE / sizeof(*word); i++) {
		if (check && word[i] != key + i)
			return false;
		word[i] = key + i;
	}
	return true;
}

static bool
is_zero(struct frame *f)
{
	const uint64_t *word = mfn_ptr(frame_mfn(f));

	for (size_t i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		if (word[i])
			return false;
	return true;
}

static int
take(struct frames_trial *t)
{
	struct frame *f = frame_list_alloc();

	if (!f) {
		printf("frames-trial: step %lu: frame_list_alloc() gave NULL\n", t->seq);
		return -ENOMEM;
	}
	if (!in_table(f)) {
		printf("frames-trial: step %lu: frame_list_alloc() gave %p, no struct frame\n",
		       t->seq, (void *)f);
		return -EFAULT;
	}
	frames_trial_got(f, frame_mfn(f).v, t->seq);
	for (unsigned i = 0; i < t->count; i++)
		if (t->held[i] == f)
			return complain(t, f, "was given out twice");
	if (f->type == FRAME_RESERVED)
		return complain(t, f, "is reserved");
	if (f->refs != 1)
		return complain(t, f, "was given out without exactly one reference");
	if (!is_zero(f))
		return complain(t, f, "was given out with old contents");
	pattern(f, false);
	t->held[t->count++] = f;
	if (t->count > t->high)
		t->high = t->count;
	return 0;
}

static int
give(struct frames_trial *t)
{
	unsigned i = (unsigned)(seeded_next(&t->state) % t->count);
	struct frame *f = t->held[i];

	if (!pattern(f, true))
		return complain(t, f, "was changed while it was held");
	t->held[i] = t->held[--t->count];
	frames_trial_gave(f, frame_mfn(f).v, t->seq);
	frame_list_free(f);
	if (f->refs || f->type != FRAME_FREE)
		return complain(t, f, "was freed, but its record does not say so");
	return 0;
}

static int
command_frames_trial(int argc, char **argv)
{
	static struct frames_trial t;
	uint64_t seed, count, before;
	int err = 0;

	if (argc != 3 || parse_u64(argv[1], &seed) || parse_u64(argv[2], &count) ||
	    count > TRIAL_COUNT)
		return -EINVAL;
	t = (struct frames_trial){ .state = seeded_start(seed) };
	before = frames_free();
	for (; !err && t.seq < count; t.seq++)
		err = t.count == HELD_MAX || (t.count && seeded_next(&t.state) % 8 < 3) ? give(&t)
											: take(&t);
	for (; !err && t.count; t.seq++)
		err = give(&t);
	if (err)
		return err;
	if (frames_free() != before) {
		printf("frames-trial: %lu frames free before, %lu after\n", before, frames_free());
		return -EFAULT;
	}
	printf("frames-trial: %lu steps, up to %u frames held, all came back\n", t.seq, t.high);
	return 0;
}
MONITOR_COMMAND(command_frames_trial, "frames-trial", "SEED COUNT",
		"allocates and frees frames in a seeded order");

/* Takes every frame that there is, then gives all back: the list has an end, and loses nothing. */
static int
command_frames_drain(int argc, char **argv)
{
	struct frame *held = frame_list_alloc(), *f;
	uint64_t before, count = 0;

	if (!held) {
		printf("frames-drain: frame_list_alloc() gave NULL at once\n");
		return -ENOMEM;
	}
	frame_list_free(held);
	held = NULL;
	/* The frame that frame_init() keeps aside joins the others. */
	frame_put(frame_alloc(FRAME_HOST, OWNER_HOST));
	before = frames_free();
	while (count <= frame_count && (f = frame_list_alloc())) {
		frames_trial_got(f, frame_mfn(f).v, count++);
		f->next = held;
		held = f;
	}
	printf("frames-drain: %lu frames taken, %lu were free\n", count, before);
	for (; held; held = f) {
		f = held->next;
		frames_trial_gave(held, frame_mfn(held).v, --count);
		frame_list_free(held);
	}
	printf("frames-drain: %lu are free now\n", frames_free());
	return frames_free() == before ? 0 : -EFAULT;
}
MONITOR_COMMAND(command_frames_drain, "frames-drain", "", "takes all free frames, gives them back");

static int
command_free_twice(int argc, char **argv)
{
	struct frame *f = frame_list_alloc();

	if (!f)
		return -ENOMEM;
	frame_list_free(f);
	frame_list_free(f);
	printf("free-twice: nobody complained\n");
	return -EFAULT;
}
MONITOR_COMMAND(command_free_twice, "free-twice", "", "frees a frame twice: must end in a panic");

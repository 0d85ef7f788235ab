/*
 * Programs that Zeno takes for its control shell, and that mean it no good: by the word behind the
 * monitor's `shell` (tests/shell.t). Status 0: each call has answered what it should have; else the
 * line of this file that saw another answer.
 */
#include <user/lib/user.h>

#include <inc/errno.h>

#define KERNEL       0xffff828000100000ul
#define NO_CANONICAL 0x8000000000000000ul
#define DOMAINS      16
#define TYPED        1024 /* keys that wait for a guest, at most */

#define MUST(result, call)                   \
	do {                                 \
		if ((call) != (result))      \
			user_exit(__LINE__); \
	} while (0)

static const struct user_guest in_constants = { 0 };

/* Numbers that are no guest's, and what becomes of them if somebody looks at their low half. */
static const uint64_t nobody[] = { 0, 9, DOMAINS + 1, 1ul << 32 | 1, 1ul << 16 | 1, KERNEL, -1ul };
#define NOBODIES (sizeof(nobody) / sizeof(nobody[0]))

/* Addresses that are not the program's to read. */
static const uint64_t not_mine[] = { 0,        USER_BASE - 1, USER_STACK - 4, USER_TOP - 4,
				     USER_TOP, KERNEL,        NO_CANONICAL,   -4ul };
#define PLACES (sizeof(not_mine) / sizeof(not_mine[0]))

static void
texts(void)
{
	static const enum user_call calls[] = { USER_WRITE, USER_START, USER_PRINT };
	static char many[USER_LINE + 1] = "hello\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

	for (unsigned i = 0; i < 3; i++) {
		for (unsigned place = 0; place < PLACES; place++)
			MUST(-EFAULT, user_call(calls[i], not_mine[place], 8));
		MUST(-E2BIG, user_call(calls[i], (uint64_t)many, USER_LINE + 1));
		MUST(-E2BIG, user_call(calls[i], (uint64_t)many, 1ul << 32));
		MUST(-E2BIG, user_call(calls[i], KERNEL, -1ul));
	}
	MUST(0, user_call(USER_WRITE, (uint64_t) "\033[2J\r\a|\n", 8));
	MUST(-E2BIG, user_call(USER_START, (uint64_t)many, 24)); /* 19 words */
	MUST(-ENOENT, user_call(USER_START, (uint64_t)many, 0));
	MUST(-ENOENT, user_call(USER_START, (uint64_t) "nobody", 7));
	for (unsigned i = 0; i < USER_LINE; i++)
		many[i] = 'x';
	MUST(-ENOENT, user_call(USER_START, (uint64_t)many, USER_LINE)); /* one word, and no NUL */
	MUST(-EINVAL, user_call(USER_START, (uint64_t) "hello\0mem=99999999999", 21));
	MUST(-EINVAL, user_call(USER_START, (uint64_t) "hello\0vcpus=-1", 15));
	MUST(-EINVAL, user_call(USER_START, (uint64_t) "hello\0\033", 8));
	MUST(-EINVAL, user_call(USER_START, (uint64_t) "no\033[2Jbody", 10));
	MUST(-EINVAL, user_call(USER_START, (uint64_t) "hello\0engine=\rx", 15));
}

static void
numbers(void)
{
	for (enum user_call call = USER_LOOK; call <= USER_ATTACH; call++)
		for (unsigned i = call == USER_ATTACH; i < NOBODIES; i++)
			MUST(-ENOENT, user_call(call, nobody[i], KERNEL));
	for (enum user_call call = USER_RUN; call <= USER_STOP; call++) /* a device model's */
		MUST(-ENOSYS, user_call(call, 0, 0));
	MUST(-ENOSYS, user_call(USER_TYPE + 1, 1, KERNEL));
	MUST(-ENOSYS, user_call((enum user_call) - 1, 1, KERNEL));
}

/* What Zeno writes goes to memory that this program may write, or nowhere. */
static void
looks(uint64_t guest)
{
	struct user_guest g = { .exits = 1 };

	for (unsigned place = 0; place < PLACES; place++)
		MUST(-EFAULT, user_call(USER_LOOK, guest, not_mine[place]));
	MUST(-EFAULT, user_call(USER_LOOK, guest, (uint64_t)user_main));
	MUST(-EFAULT, user_call(USER_LOOK, guest, (uint64_t)&in_constants));
	MUST(-EFAULT, user_call(USER_LOOK, guest, USER_BASE + 0x1000 - 8)); /* out of its code */
	MUST(0, user_call(USER_LOOK, guest, (uint64_t)&g));
	MUST(true, user_same(g.name, "spin") && g.ram == 8ul << 20);
}

static void
states(uint64_t guest)
{
	struct user_guest g, then;

	MUST(0, user_call(USER_RESUME, guest, 0)); /* which it is not */
	MUST(0, user_call(USER_PAUSE, guest, 0));
	MUST(0, user_call(USER_PAUSE, guest, 0));
	user_call(USER_LOOK, guest, (uint64_t)&g);
	for (unsigned i = 0; i < 3; i++)
		user_call(USER_YIELD, 0, 0);
	user_call(USER_LOOK, guest, (uint64_t)&then);
	MUST(true, then.state == GUEST_PAUSED && then.exits == g.exits);
	MUST(-ENOENT, user_call(USER_TYPE, 'x', 0)); /* nobody has the console */
	MUST(0, user_call(USER_ATTACH, guest, 0));
	MUST(-EINVAL, user_call(USER_TYPE, 256, 0));
	MUST(-EINVAL, user_call(USER_TYPE, -1ul, 0));
	for (unsigned i = 0; i < TYPED; i++)
		MUST(0, user_call(USER_TYPE, 0xff, 0));
	MUST(-EAGAIN, user_call(USER_TYPE, 0xff, 0));
	MUST(0, user_call(USER_KILL, guest, 0)); /* paused */
	for (enum user_call call = USER_PAUSE; call <= USER_RESUME; call++)
		MUST(-ENODATA, user_call(call, guest, 0));
	MUST(0, user_call(USER_KILL, guest, 0));
	MUST(-ENODATA, user_call(USER_TYPE, 'x', 0));
	MUST(0, user_call(USER_ATTACH, guest, 0)); /* again */
	MUST(-ENODATA, user_call(USER_TYPE, 'x', 0));
	MUST(-ENODATA, user_call(USER_KEY, 0, 0));
	MUST(0, user_call(USER_ATTACH, 0, 0));
}

#define LONG_NS 50000000ul

static uint64_t
clock_of(uint64_t guest)
{
	struct user_guest g;

	MUST(0, user_call(USER_LOOK, guest, (uint64_t)&g));
	return g.ns;
}

/* The clock of a paused guest stands still. Another one's says for how long. */
static void
clocks(uint64_t guest, uint64_t other)
{
	uint64_t began, before, after, paused_at;

	user_call(USER_PAUSE, guest, 0);
	began = clock_of(other);
	paused_at = clock_of(guest);
	do {
		user_call(USER_YIELD, 0, 0);
		before = clock_of(other);
	} while (before < began + LONG_NS);
	MUST(paused_at, clock_of(guest));
	user_call(USER_RESUME, guest, 0);
	after = clock_of(guest);
	MUST(true, after >= paused_at && after - paused_at <= clock_of(other) - before);
	user_call(USER_KILL, guest, 0);
	user_call(USER_KILL, other, 0);
}

/* As many as there can be, and none stays. */
static void
crowd(void)
{
	int64_t id[DOMAINS + 1];
	unsigned n = 0;

	while ((id[n] = user_call(USER_START, (uint64_t) "spin\0mem=2", 11)) > 0)
		n++;
	MUST(DOMAINS, n);
	MUST(-ENOMEM, id[n]);
	while (n)
		MUST(0, user_call(USER_KILL, (uint64_t)id[--n], 0));
}

int
user_main(void)
{
	const char *word = RUN_PAGE->words;
	int64_t guest = 0;

	if (user_same(word, "outsider")) /* without the monitor's `shell`: it has none of them */
		for (enum user_call call = USER_KEY; call <= USER_TYPE; call++)
			MUST(-ENOSYS, user_call(call, 1, 1));
	if (user_same(word, "texts"))
		texts();
	if (user_same(word, "numbers"))
		numbers();
	if (user_same(word, "crowd"))
		crowd();
	if (user_same(word, "looks") || user_same(word, "states") || user_same(word, "clocks"))
		guest = user_call(USER_START, (uint64_t) "spin", 5);
	if (user_same(word, "looks"))
		looks((uint64_t)guest);
	if (user_same(word, "states"))
		states((uint64_t)guest);
	if (user_same(word, "clocks"))
		clocks((uint64_t)guest, (uint64_t)user_call(USER_START, (uint64_t) "spin", 5));
	if (user_same(word, "looks"))
		user_call(USER_KILL, (uint64_t)guest, 0);
	if (user_same(word, "attached-crash")) {
		user_call(USER_ATTACH, (uint64_t)user_call(USER_START, (uint64_t) "hello", 6), 0);
		*(volatile int *)KERNEL = 1;
	}
	if (user_same(word, "deaf"))
		for (;;)
			user_call(USER_WRITE, (uint64_t) ".", 0);
	if (user_same(word, "spins"))
		for (;;)
			;
	return 0;
}

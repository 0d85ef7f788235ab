/*
 * Device models that mean their host no good, or have bad luck: by the word behind the name
 * (tests/user.t). Beside that each is a COM1 and a debug exit, which is all that guest/hello needs.
 */
#include <stdbool.h>

#include <user/lib/user.h>

#define TURN     30 /* the exit at which something happens */
#define COM1     0x3f8
#define LCR      0x3fb
#define LSR      0x3fd
#define COUNTER  0x300
#define BELL     0x310 /* its interrupt is 5 */
#define BELL_IRQ 5
#define OFF      0xf4
#define KERNEL   0xffff828000100000ul
#define OF_LIMIT 900         /* thousandths of what it may use for one exit */
#define MEMORY   0xfec00000u /* two pages of registers that keep what is written there */
#define MEMORY_2 0xfee00000u
#define IN_PAGE  0xfffu

static struct run_page *const run = RUN_PAGE;

static bool
begins(const char *word)
{
	const char *words = run->words;

	for (; *word && *word == *words; word++)
		words++;
	return !*word;
}

/* Whether the word behind its name is this one. */
static bool
is(const char *word)
{
	return begins(word) && !run->words[strlen(word)];
}

/* What Zeno asked, kept from its own tricks. */
struct asked {
	uint64_t address;
	uint32_t reason, data;
	uint16_t port;
	uint8_t size;
};

static bool sets_divisor;
static uint32_t counter; /* of reads of a port: each is another one */

static void
serve(const struct asked *q)
{
	run->data_in = q->port == LSR ? 0xffffff60 : 0; /* of which a byte counts */
	run->done = (q->port >= COM1 && q->port <= LSR) || q->port == COUNTER;
	if (q->port == COUNTER)
		run->data_in = ++counter;
	run->deadline = RUN_NEVER;
	if (q->reason == RUN_PORT_WRITE && q->port == LCR)
		sets_divisor = q->data & 0x80;
	if (q->reason == RUN_PORT_WRITE && q->port == COM1 && !sets_divisor)
		user_call(USER_SEND, q->data, 0);
	if (q->reason == RUN_PORT_WRITE && q->port == OFF)
		user_call(USER_END, q->data, 0);
}

static void
use(int64_t thousandths)
{
	while (user_call(USER_CPU, 0, 0) < thousandths)
		;
}

/* Those that end the guest. */
static void
misbehave(void)
{
	if (is("crash"))
		*(volatile int *)0 = 1;
	if (is("kernel"))
		*(volatile int *)KERNEL = 1;
	if (is("exits"))
		user_exit(7);
	if (is("hangs"))
		for (;;)
			;
	if (is("hangs-calling"))
		for (;;)
			user_call(USER_YIELD, 0, 0);
	if (is("too-slow"))
		use(1100);
	if (is("count"))
		run->done = 2;
	if (is("counts"))
		run->done = 0xffffffff;
	if (is("line"))
		user_call(USER_IRQ_LINE, 16, 1);
	if (is("cascade"))
		user_call(USER_IRQ_LINE, 2, 1);
	if (is("wild-line"))
		user_call(USER_IRQ_LINE, (uint64_t)-1, 1);
	if (is("level"))
		user_call(USER_IRQ_LINE, 0, 2);
	if (is("string-count") && run->count > 1)
		run->done = run->count + 1;
	if (is("stops"))
		user_call(USER_STOP, (uint64_t) "enough\n", 7);
}

/* Those that do something when their time comes, and their guest sleeps. */
static void
wake(const struct asked *q, uint64_t now)
{
	if (q->reason != RUN_TIME) {
		run->deadline = now + 1000000;
		return;
	}
	if (is("asleep-count"))
		run->done = 2;
	if (is("asleep-hangs"))
		for (;;)
			;
	if (is("asleep-crash"))
		*(volatile int *)0 = 1;
}

static void
text_hex(struct user_text *t, uint64_t n, unsigned digits)
{
	char digit[2] = "";

	while (digits--) {
		digit[0] = "0123456789abcdef"[n >> 4 * digits & 0xf];
		text_add(t, digit);
	}
}

/* One that says what it was asked, by address, size and data. */
static void
say(const struct asked *q, uint32_t value)
{
	struct user_text t = { .len = 0 };

	text_add(&t, q->reason == RUN_MMIO_READ ? "reads " : "writes ");
	text_hex(&t, q->address, 8);
	text_add(&t, " ");
	text_hex(&t, value, 2u * q->size);
	user_call(USER_PRINT, (uint64_t)t.text, t.len);
}

/* Registers that are memory. Beyond what was asked for the answer is junk. */
static void
keep(const struct asked *q)
{
	static uint8_t pages[2][IN_PAGE + 1];
	uint32_t page = (uint32_t)q->address & ~IN_PAGE, value = 0xa5a5a5a5;
	uint8_t *at = &pages[page == MEMORY_2][q->address & IN_PAGE];

	run->done = page == MEMORY || page == MEMORY_2;
	if (!run->done)
		return;
	if (q->reason == RUN_MMIO_WRITE)
		memcpy(at, &q->data, q->size);
	memcpy(&value, at, q->size);
	run->data_in = value;
	if (is("memory-says"))
		say(q, value);
}

/* Those that do something when asked for a register in memory. */
static void
remember(const struct asked *q)
{
	if (q->reason != RUN_MMIO_READ && q->reason != RUN_MMIO_WRITE)
		return;
	keep(q);
	if (is("memory-count"))
		run->done = 2;
	if (is("memory-hangs"))
		for (;;)
			;
	if (is("memory-crash"))
		*(volatile int *)0 = 1;
}

/* Those with a doorbell, which is asked how often it has rung. */
static void
listen(const struct asked *q)
{
	static uint64_t heard;

	if (!begins("bell"))
		return;
	user_call(USER_BELL, BELL, 0);
	if (q->reason == RUN_PORT_READ && q->port == BELL) {
		run->data_in = (uint32_t)run->rings;
		run->done = 1;
	}
	if (heard == run->rings)
		return;
	heard = run->rings;
	if (is("bell-count"))
		run->done = 2;
	if (is("bell-crash"))
		*(volatile int *)0 = 1;
	user_call(USER_IRQ_LINE, BELL_IRQ, 0);
	user_call(USER_IRQ_LINE, BELL_IRQ, 1);
}

/*
 * Those that do no harm: Zeno's half of the page gone, wild times, wild pointers, a call where none
 * is, slowness.
 */
static void
annoy(unsigned n)
{
	if (is("page"))
		for (unsigned i = 0; i < offsetof(struct run_page, data_in); i++)
			((uint8_t *)run)[i] = (uint8_t)(n * 7 + i);
	if (is("soon"))
		run->deadline = 0;
	if (is("late"))
		run->deadline = RUN_NEVER - 1;
	if (is("lines"))
		for (unsigned line = 0; line < 16; line++)
			if (line != 2)
				user_call(USER_IRQ_LINE, line, n & 1);
	if (is("pointers")) {
		user_call(USER_STOP, KERNEL, 8);
		user_call(USER_STOP, USER_TOP - 4, 8);
		user_call(USER_PRINT, (uint64_t)-4, 8);
		user_call(USER_BELL, KERNEL, KERNEL);
		user_call(USER_BELL, USER_NO_BELL + 1, 0);
		for (int n = USER_LOAD; n <= USER_STORE; n++) {
			user_call(n, 0, KERNEL);
			user_call(n, (uint64_t)-1, (uint64_t)run);
			user_call(n, 0, USER_TOP - 4);
		}
		user_call(77, KERNEL, KERNEL);
	}
	if (is("slow") && n == TURN)
		use(OF_LIMIT);
}

int
user_main(void)
{
	for (unsigned n = 1;; n++) {
		const struct asked q = { run->address, run->reason, run->data_out, run->port,
					 run->size };

		serve(&q);
		if (begins("asleep"))
			wake(&q, run->now);
		remember(&q);
		listen(&q);
		if (n == TURN || (is("string-count") && run->count > 1))
			misbehave();
		annoy(n);
		user_call(USER_RUN, 0, 0);
	}
}

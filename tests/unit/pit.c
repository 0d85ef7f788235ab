/* BUILD: vmm/dev/pit.c */
/*
 * The 8254 by its datasheet: 8254 = Intel 8254, order no. 231164-005, September 1993. The section
 * is named at each group. Expected waveforms are those of its figures 15-20: a write in pulse `k`
 * is loaded at k + 1. pit_ticks.c compares the computed counter with a model that really ticks.
 */
#include <string.h>

#include "pit.h"
#include "tap.h"

static uint8_t
status(unsigned ch)
{
	out(PIT_CONTROL, 0xe0 | 2 << ch);
	return in(PIT_BASE + ch);
}

/* Channel 2 with gate and count, written at pulse START. */
static void
start(unsigned mode, bool open, uint16_t n)
{
	pit_init(&p, 0);
	k = START;
	gate(open);
	out(PIT_CONTROL, CW(2, BOTH, mode, 0));
	count(2, n);
}

/* OUT of channel 2 from pulse k on, a character each: compared with `want`. */
static void
wave(const char *want, const char *what)
{
	char got[80] = "";

	for (unsigned i = 0; want[i]; i++)
		got[i] = pit_out(&p, 2, ns(k + i)) ? '-' : '_';
	if (!ok(!strcmp(got, want), "%s", what))
		diag("got %s, want %s", got, want);
}

/*
 * What the counter shows from pulse k on, one hexadecimal digit each, '.' where it doesn't matter.
 */
static void
values(const char *want, const char *what)
{
	char got[80] = "";
	bool same = true;

	for (unsigned i = 0; want[i]; i++) {
		struct pit saved = p;

		k += i;
		got[i] = "0123456789abcdef"[latched(2) & 15];
		k -= i;
		p = saved;
		same &= want[i] == '.' || want[i] == got[i];
	}
	if (!ok(same, "%s", what))
		diag("got %s, want %s", got, want);
}

/* "Mode 0: Interrupt on Terminal Count", figure 15. */
static void
test_mode0(void)
{
	start(0, true, 4);
	wave("_____-----", "mode 0: OUT rises N+1 pulses after the count is written");
	values(".43210fedc", "mode 0: loaded at the next pulse, wraps past zero");
	k += 3;
	gate(false);
	k += 5;
	values("2222", "mode 0: GATE low stops the counting");
	wave("____", "mode 0: and leaves OUT as it is");
	gate(true);
	values("210f", "mode 0: it goes on from there");
	wave("__--", "mode 0: so OUT comes later");
	start(0, false, 4);
	k += 3;
	values("444", "mode 0: a count is loaded while GATE is low");
	gate(true);
	wave("____--", "mode 0: then OUT rises N pulses after GATE");
	k += 10;
	out(PIT_BASE + 2, 3);
	wave("___", "mode 0: the first byte of a new count: OUT is low at once");
	values("aaa", "mode 0: and counting is disabled");
	k += 2;
	out(PIT_BASE + 2, 0);
	wave("____---", "mode 0: the second byte starts it again");
}

/* "Mode 1: Hardware Retriggerable One-Shot", figure 16. */
static void
test_mode1(void)
{
	start(1, false, 3);
	wave("-----", "mode 1: OUT is high until the trigger");
	k += 5;
	gate(true);
	wave("-___---", "mode 1: low for N pulses after the trigger");
	values(".3210f", "mode 1: loaded by the trigger");
	k += 3;
	gate(false);
	gate(true);
	wave("____---", "mode 1: a trigger in the pulse makes it longer");
	k += 1;
	count(2, 5);
	wave("___---", "mode 1: a new count waits for a trigger");
	is_u64(status(2) & 0x40, 0x40, "mode 1: null count meanwhile");
	k += 10;
	gate(false);
	gate(true);
	wave("-_____---", "mode 1: which takes it");
	start(1, false, 3);
	out(PIT_CONTROL, CW(2, BOTH, 1, 0));
	gate(true);
	wave("------", "mode 1: a trigger without a count does nothing");
}

/* "Mode 2: Rate Generator", figure 17. */
static void
test_mode2(void)
{
	start(2, true, 3);
	wave("---_--_--_--", "mode 2: low for one pulse in N, first N after the write");
	values(".321321321", "mode 2: counts from N to 1");
	k += 2;
	count(2, 5);
	wave("-_----_----_", "mode 2: a new count is taken at the end of the period");
	start(2, true, 3);
	k += 2;
	count(2, 5);
	k += 1;
	wave("_-", "mode 2: (the strobe)");
	gate(false);
	wave("------", "mode 2: GATE low in the strobe sets OUT high at once");
	k += 4;
	gate(true);
	wave("-----_----_", "mode 2: a trigger loads the new count, N pulses to the strobe");
	values(".543215", "mode 2: and starts a period");
	start(2, true, 1);
	wave("--_-_-_-_", "mode 2: the illegal count 1 is taken as 2");
	start(2, false, 3);
	k += 1;
	values("3333", "mode 2: with GATE low nothing counts");
}

/* "Mode 3: Square Wave Mode", figure 18. */
static void
test_mode3(void)
{
	start(3, true, 4);
	wave("---__--__--__", "mode 3, even: half and half");
	values(".42424242", "mode 3, even: counts by two, twice in a period");
	start(3, true, 5);
	wave("----__---__---__", "mode 3, odd: (N+1)/2 high, (N-1)/2 low");
	values(".4204242042", "mode 3, odd: from N-1, one pulse longer while high");
	start(3, true, 4);
	k += 1;
	count(2, 6);
	wave("--___---___---", "mode 3: a new count is taken at the end of the half period");
	start(3, true, 4);
	k += 3;
	wave("__-", "mode 3: (the low half)");
	gate(false);
	wave("-----", "mode 3: GATE low sets OUT high at once");
	k += 2;
	gate(true);
	wave("---__--__", "mode 3: a trigger starts a period");
}

/*
 * "Mode 4: Software Triggered Strobe", figure 19; "Mode 5: Hardware Triggered Strobe", figure 20.
 */
static void
test_mode45(void)
{
	start(4, true, 3);
	wave("----_-------", "mode 4: low for one pulse, N+1 after the write");
	values(".3210fe", "mode 4: wraps past zero");
	k += 2;
	out(PIT_BASE + 2, 4);
	values("210", "mode 4: the first byte of a new count has no effect");
	out(PIT_BASE + 2, 0);
	wave("-----_---", "mode 4: the second retriggers");
	start(4, true, 3);
	k += 2;
	gate(false);
	k += 4;
	wave("----", "mode 4: GATE low stops the counting");
	gate(true);
	wave("--_----", "mode 4: GATE high goes on");
	start(5, false, 3);
	wave("------", "mode 5: nothing without a trigger");
	k += 2;
	gate(true);
	wave("----_---", "mode 5: low for one pulse, N+1 after the trigger");
	k += 3;
	gate(false);
	gate(true);
	wave("----_---", "mode 5: can be triggered again");
	k += 2;
	gate(false);
	wave("--_---", "mode 5: GATE low has no effect");
}

/* "Control Word Format", "Write Operations", "Counter Latch Command". */
static void
test_access(void)
{
	start(0, true, 0x1234);
	k += 1;
	is_u64(in(0x42), 0x34, "read: low byte first");
	is_u64(in(0x42), 0x12, "read: then the high one");
	out(PIT_CONTROL, 0x80);
	k += 0x100;
	out(PIT_CONTROL, 0x80);
	is_u64(in(0x42), 0x34, "latch: holds, and a second one is ignored");
	k += 0x100;
	is_u64(in(0x42), 0x12, "latch: both bytes");
	is_u64(in(0x42), 0x34, "latch: then the counter again, low");
	is_u64(in(0x42), 0x10, "latch: and high");
	out(PIT_CONTROL, 0x80);
	out(PIT_CONTROL, CW(2, LOW, 2, 0));
	out(0x42, 0x20);
	k += 1;
	is_u64(in(0x42), 0x20, "low byte access: a control word ends the latch");
	is_u64(in(0x42), 0x20, "low byte access: always the low one");
	out(PIT_CONTROL, CW(2, HIGH, 2, 0));
	out(0x42, 0x20);
	k += 2;
	is_u64(in(0x42), 0x1f, "high byte access: the low byte is zero when loaded");
	out(PIT_CONTROL, 0x80);
	k += 0x400;
	is_u64(in(0x42), 0x1f, "high byte access: latch");
	is_u64(in(0x42), 0x1b, "high byte access: one byte of it");
	is_u64(in(0x43), 0xff, "the control word can't be read: ones");
	is_u64(in(0x44), 0xff, "a port that is not ours: ones");
}

/* "Read-Back Command", figures 10-13. */
static void
test_read_back(void)
{
	start(3, true, 100);
	is_u64(status(2), 0xf6, "status: OUT, null count, access, mode, before the load");
	k += 1;
	is_u64(status(2), 0xb6, "status: loaded");
	k += 50;
	is_u64(status(2), 0x36, "status: OUT is low in the second half");
	out(PIT_CONTROL, 0xc8);
	k += 10;
	out(PIT_CONTROL, 0xc8);
	is_u64(in(0x42), 0x36, "read-back of both: status comes first");
	is_u64(in(0x42), 100, "then the count of that moment, low");
	is_u64(in(0x42), 0, "and high");
	is_u64(in(0x42), 80, "then the counter itself");
	in(0x42);
	out(PIT_CONTROL, 0xd0 | 8);
	k += 10;
	out(PIT_CONTROL, 0xe0 | 8);
	is_u64(in(0x42), 0x36, "count latched first, status next: status is read first");
	is_u64(in(0x42), 80, "then the count");
	in(0x42);
	out(PIT_CONTROL, CW(0, BOTH, 2, 0));
	out(PIT_CONTROL, CW(1, BOTH, 0, 0));
	out(PIT_CONTROL, 0xee);
	is_u64(in(0x40), 0xf4, "read-back of all: channel 0");
	is_u64(in(0x41), 0x70, "read-back of all: channel 1, OUT low");
	is_u64(in(0x42), 0x36, "read-back of all: channel 2");
	out(PIT_CONTROL, CW(0, BOTH, 6, 0));
	is_u64(status(0), 0xfc, "status: the mode's bits as they were written");
}

/* "Counter" figures: BCD; a count of 0 is the largest. */
static void
test_bcd(void)
{
	start(0, true, 0);
	k += 2;
	is_u64(latched(2), 0xffff, "count 0 is 65536");
	is_u64(pit_out(&p, 2, ns(START + 65536)), 0, "count 0: OUT is low for 65537 pulses");
	is_u64(pit_out(&p, 2, ns(START + 65537)), 1, "count 0: and then high");
	out(PIT_CONTROL, CW(2, BOTH, 2, 1));
	count(2, 0x1000);
	k += 2;
	is_u64(latched(2), 0x0999, "BCD: 1000 less 1 is 999");
	is_u64(status(2) & 1, 1, "BCD: status says so");
	k += 999;
	is_u64(latched(2), 0x1000, "BCD: the period is 1000");
	out(PIT_CONTROL, CW(2, BOTH, 0, 1));
	count(2, 0);
	k += 2;
	is_u64(latched(2), 0x9999, "BCD: count 0 is 10000");
	k += 10000;
	is_u64(latched(2), 0x9999, "BCD: wraps from 0 to 9999");
}

/* Port 0x61 of a PC. */
static void
test_port_b(void)
{
	pit_init(&p, 0);
	k = START;
	is_u64(in(0x61) & 0x0f, 0, "port 61h: speaker and gate are off");
	out(0x61, 0xff);
	is_u64(in(0x61) & 0xcf, 0x0f, "port 61h: four bits can be written, NMI sources read 0");
	out(PIT_CONTROL, CW(2, BOTH, 0, 0));
	is_u64(in(0x61) & 0x20, 0, "port 61h: OUT2 low");
	count(2, 5);
	k += 6;
	is_u64(in(0x61) & 0x20, 0x20, "port 61h: OUT2 high");
	unsigned toggles = 0;
	for (unsigned i = 0, last = in(0x61) & 0x10; i < 1800; i++, k++) {
		toggles += (in(0x61) & 0x10) != last;
		last = in(0x61) & 0x10;
	}
	is_u64(toggles, 100, "port 61h: the refresh bit toggles every 18 pulses");
}

/* IRQ 0: what a caller sees that comes late. */
/* Between two times, if no port is written in between. */
static uint64_t
pit_edges(const struct pit *p, uint64_t since, uint64_t now)
{
	return pit_edge_count(p, now) - pit_edge_count(p, since);
}

static void
test_edges(void)
{
	uint64_t year = 365ull * 86400 * 1000000000, t;

	pit_init(&p, 0);
	is_u64(pit_next_irq0(&p, 0), ns(65536), "firmware: the first IRQ 0 after 55 ms");
	is_u64(pit_edges(&p, 0, 1000000000), 18, "firmware: 18 in the first second");
	is_u64(pit_edge_count(&p, 500 * year),
	       (uint64_t)((unsigned __int128)500 * year * PIT_HZ / 1000000000 / 65536),
	       "500 years without an overflow");
	t = pit_next_irq0(&p, 500 * year);
	ok(t > 500 * year && t < 500 * year + 55000000, "and the next one after them");
	is_u64(pit_edges(&p, 500 * year, t), 1, "at the time that was foretold");
	is_u64(pit_edges(&p, 500 * year, t - 1), 0, "and not before");
	ok(pit_next_irq0(&p, UINT64_MAX) > 0, "the end of time is no trap");
	k = START;
	out(PIT_CONTROL, CW(0, BOTH, 2, 0));
	count(0, 1000);
	is_u64(pit_next_irq0(&p, ns(k)), ns(START + 1001), "mode 2: the strobe's end");
	k = START + 500000;
	is_u64(pit_edge_count(&p, ns(k)), 499, "mode 2: all are counted");
	count(0, 100); /* taken at the end of the period */
	is_u64(pit_edge_count(&p, ns(START + 500001)), 500, "mode 2: the old period's edge");
	is_u64(pit_edge_count(&p, ns(START + 500101)), 501, "mode 2: and the new one's");
	k += 1000;
	t = pit_edge_count(&p, ns(k));
	out(PIT_CONTROL, CW(0, BOTH, 0, 0));
	is_u64(pit_edge_count(&p, ns(k)), t, "a control word for mode 0: OUT falls");
	is_u64(pit_next_irq0(&p, ns(k)), PIT_NEVER, "and without a count never rises");
	count(0, 7);
	is_u64(pit_next_irq0(&p, ns(k)), ns(k + 8), "mode 0: its one edge");
	is_u64(pit_next_irq0(&p, ns(k + 8)), PIT_NEVER, "mode 0: and no other");
	k += 100;
	is_u64(pit_edge_count(&p, ns(k)), t + 1, "mode 0: counted");
	out(PIT_CONTROL, CW(0, BOTH, 0, 0));
	out(PIT_CONTROL, CW(0, BOTH, 2, 0));
	is_u64(pit_edge_count(&p, ns(k)), t + 2, "from mode 0 to mode 2 OUT rises: an edge");
	is_u64(pit_edge_count(&p, ns(k - 50)), t + 2, "a clock that runs backwards stands still");
}

int
main(void)
{
	test_mode0();
	test_mode1();
	test_mode2();
	test_mode3();
	test_mode45();
	test_access();
	test_read_back();
	test_bcd();
	test_port_b();
	test_edges();
	return done_testing();
}

/* BUILD: solutions/5-nested/deadline.c vmm/dev/apic/lapic.c */
/*
 * The local APIC's timer by deadlines, sentence for sentence: SDM = Intel SDM, June 2023, 3A
 * 11.5.4.1 "TSC-Deadline Mode". The counting timer's tests are lapic.c's.
 */
#include <string.h>

#include <kern/kern.h>
#include <vmm/dev/apic/deadline.h>

#include "tap.h"

SET_DECLARE(deadline_timers);

#define VECTOR 0x51
#define ENTRY  (LVT_DEADLINE | VECTOR)

static struct lapic l;
static struct apic_message m;
static const struct deadline_timer *timer;

static uint32_t
in(unsigned offset)
{
	return lapic_read(&l, offset, 0);
}

static void
out(unsigned offset, uint32_t value)
{
	lapic_write(&l, offset, value, 0, &m);
}

static uint64_t
rdmsr(void)
{
	uint64_t value = 0x5a5a5a5a5a5a5a5a;

	timer->msr(&l, false, &value);
	return value;
}

static void
wrmsr(uint64_t value)
{
	timer->msr(&l, true, &value);
}

/* Whether it has come since the last call; it is served then. */
static bool
came(void)
{
	if (lapic_pending(&l) != VECTOR)
		return false;
	lapic_ack(&l);
	out(LAPIC_REG_EOI, 0);
	return true;
}

static void
start(uint32_t entry)
{
	memset(&l, 0x5a, sizeof(l));
	lapic_init(&l, 3, true);
	out(LAPIC_REG_SVR, SVR_ENABLED | 0xff);
	out(LAPIC_REG_LVT, entry);
}

static void
test_mode(void)
{
	start(~0u);
	is_u64(in(0x320), 0x700ff, "table 11-2: bits 18:17 are the mode");
	lapic_init(&l, 3, false);
	out(LAPIC_REG_SVR, SVR_ENABLED | 0xff);
	out(LAPIC_REG_LVT, ~0u);
	is_u64(in(0x320), 0x300ff, "bit 18 is reserved without it");
	start(ENTRY);
	is_u64(rdmsr(), 0, "the reset value is 0");
	out(LAPIC_REG_INITIAL, 100);
	is_u64(in(0x380), 0, "writes to the initial count are ignored");
	is_u64(in(0x390), 0, "the current count reads 0");
	lapic_tick(&l, 1000);
	ok(!came(), "... and nothing counts");
	for (uint32_t other = 0; other <= LVT_PERIODIC; other += LVT_PERIODIC) {
		start(other | VECTOR);
		wrmsr(5);
		is_u64(rdmsr(), 0, "in another mode the register reads 0");
		is_u64(l.tsc_deadline, 0, "... and writes are ignored");
		out(LAPIC_REG_LVT, ENTRY);
		is_u64(rdmsr(), 0, "... for good");
		wrmsr(7);
		out(LAPIC_REG_LVT, other | VECTOR);
		timer->tick(&l, 8);
		ok(!came(), "a change of modes disarms it");
		out(LAPIC_REG_LVT, ENTRY);
		is_u64(rdmsr(), 0, "... for good");
		out(LAPIC_REG_LVT, other | VECTOR);
		out(LAPIC_REG_DIVIDE, 11);
		out(LAPIC_REG_INITIAL, 100);
		out(LAPIC_REG_LVT, ENTRY);
		lapic_tick(&l, 1000);
		ok(!came() && !in(0x390), "... and the count");
		is_u64(lapic_deadline(&l), LAPIC_NEVER, "... which fires never");
	}
}

static void
test_deadline(void)
{
	start(ENTRY);
	wrmsr(1000);
	is_u64(rdmsr(), 1000, "the target can be read");
	timer->tick(&l, 999);
	ok(!came(), "before the target: nothing");
	is_u64(rdmsr(), 1000, "... and it stays");
	timer->tick(&l, 1000);
	ok(came(), "equal to the target: an interrupt");
	is_u64(rdmsr(), 0, "which clears the register");
	timer->tick(&l, 2000);
	ok(!came(), "at most one");
	wrmsr(1000);
	timer->tick(&l, 5000);
	ok(came(), "exceeds the target");
	wrmsr(6000);
	wrmsr(0);
	timer->tick(&l, 7000);
	ok(!came(), "0 disarms");
	wrmsr(8000);
	wrmsr(9000);
	timer->tick(&l, 8500);
	ok(!came(), "postponed");
	timer->tick(&l, 9000);
	ok(came(), "... to then");
	out(LAPIC_REG_LVT, ENTRY | LVT_MASKED);
	wrmsr(10000);
	is_u64(rdmsr(), 10000, "masked: it is armed");
	timer->tick(&l, 10000);
	is_u64(rdmsr(), 0, "... and comes to its end");
	out(LAPIC_REG_LVT, ENTRY);
	timer->tick(&l, 11000);
	ok(!came(), "... unheard");
	wrmsr(12000);
	out(LAPIC_REG_LVT, ENTRY | LVT_MASKED);
	out(LAPIC_REG_LVT, ENTRY);
	timer->tick(&l, 12000);
	ok(came(), "masked for a while: it is armed still");
	wrmsr(UINT64_MAX);
	timer->tick(&l, UINT64_MAX - 1);
	ok(!came(), "the last of all: not before");
	timer->tick(&l, UINT64_MAX);
	ok(came(), "... then");
}

/* After that many ns, and no sooner. */
static void
sleeps(uint64_t tsc, uint64_t to, uint64_t hz, const char *what)
{
	uint64_t ns;

	start(ENTRY);
	wrmsr(to);
	ns = timer->left(&l, tsc, hz);
	ok((unsigned __int128)ns * hz >= (unsigned __int128)(to - tsc) * 1000000000 &&
		   (!ns ||
		    (unsigned __int128)(ns - 1) * hz < (unsigned __int128)(to - tsc) * 1000000000),
	   "%s", what);
}

static void
test_sleep(void)
{
	start(ENTRY);
	is_u64(timer->left(&l, 5, 1000000000), LAPIC_NEVER, "not armed: never");
	wrmsr(5);
	is_u64(timer->left(&l, 5, 1000000000), 0, "due: now");
	is_u64(timer->left(&l, 500, 1000000000), 0, "past: now");
	is_u64(timer->left(&l, 0, 1000000000), 5, "1 GHz: a tick is a nanosecond");
	is_u64(timer->left(&l, 2, 1500000000), 2, "1.5 GHz: three ticks are two");
	is_u64(timer->left(&l, 1, 1500000000), 3, "... and four are three");
	out(LAPIC_REG_LVT, ENTRY | LVT_MASKED);
	is_u64(timer->left(&l, 0, 1000000000), LAPIC_NEVER, "masked: nobody is woken");
	sleeps(77, 78, 4900000001, "one tick");
	sleeps(0, 20000000000001, 3333333333, "some hours");
	sleeps(1ul << 62, (1ul << 62) + (1ul << 61), 2999999999, "some decades");
	start(ENTRY);
	wrmsr(UINT64_MAX);
	is_u64(timer->left(&l, 0, 1000000), LAPIC_NEVER, "584,000 years at 1 MHz");
}

int
main(void)
{
	set_foreach (const struct deadline_timer *, t, deadline_timers)
		timer = t;
	test_mode();
	test_deadline();
	test_sleep();
	return done_testing();
}

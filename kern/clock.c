/*
 * Time: PIT channel 0 gives the ticks, the TSC gives nanoseconds between them.
 *
 * 8254 = Intel 8254 data sheet, order no. 231164-005.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/sched/sched.h>
#include <kern/thread.h>
#include <kern/trap.h>

#define PIT_HZ           1193182
#define PIT_CHANNEL0     0x40
#define PIT_CHANNEL2     0x42
#define PIT_CONTROL      0x43
#define CONTROL_CH0_RATE 0x34 /* channel 0, low then high byte, mode 2 */
#define CONTROL_CH0_ONCE 0x30 /* ... mode 0: it interrupts when the count is over */
#define COUNT_MAX        0xfffful
#define CONTROL_CH2_ONCE 0xb0 /* channel 2, low then high byte, mode 0 */
#define CONTROL_CH2_LOCK 0x80 /* counter latch command for channel 2 */
#define SPEAKER          0x61
#define SPEAKER_GATE2    0x01
#define SPEAKER_ON       0x02

#define CALIBRATE_COUNTS (PIT_HZ / 500) /* 2 ms: 0.04 % is one count */
#define PATIENCE         1000000        /* reads of the PIT before it counts as dead */
#define DEFAULT_TSC_HZ   1000000000ul

volatile uint64_t ticks;

static bool ticking, alarmed;
static uint64_t alarm_at; /* while alarmed */
static uint64_t tsc_at_boot;
static uint64_t tsc_hz;
static uint64_t ns_per_tsc; /* 32.32 fixed point */

struct sample {
	uint64_t tsc;
	uint16_t count;
};

static uint16_t
read_count(void)
{
	uint16_t low;

	outb(PIT_CONTROL, CONTROL_CH2_LOCK);
	low = inb(PIT_CHANNEL2);
	return (uint16_t)(low | inb(PIT_CHANNEL2) << 8);
}

/*
 * TSC and counter at the same time. An emulator may be put to sleep by its own host between the
 * two: of eight tries the closest counts.
 */
static struct sample
sample(void)
{
	struct sample best = { 0 };
	uint64_t closest = ~0ul;

	for (int i = 0; i < 8; i++) {
		uint64_t before = rdtsc();
		uint16_t count = read_count();
		uint64_t took = rdtsc() - before;

		if (took < closest) {
			closest = took;
			best = (struct sample){ before + took / 2, count };
		}
	}
	return best;
}

/* 0: the PIT does not count. */
static uint64_t
measure_tsc_hz(void)
{
	struct sample start, end;
	unsigned patience = PATIENCE;

	outb(SPEAKER, (uint8_t)((inb(SPEAKER) & ~SPEAKER_ON) | SPEAKER_GATE2));
	outb(PIT_CONTROL, CONTROL_CH2_ONCE);
	outb(PIT_CHANNEL2, 0xff);
	outb(PIT_CHANNEL2, 0xff);
	/* The count is loaded by the clock pulse after the last byte: 8254, "Mode 0". */
	while (read_count() > 0xff00)
		if (!--patience)
			return 0;
	start = sample();
	while ((uint16_t)(start.count - read_count()) < CALIBRATE_COUNTS)
		if (!--patience)
			return 0;
	end = sample();
	return (end.tsc - start.tsc) * PIT_HZ / (uint16_t)(start.count - end.count);
}

static void
set_count(uint8_t control, uint64_t count)
{
	outb(PIT_CONTROL, control);
	outb(PIT_CHANNEL0, (uint8_t)count);
	outb(PIT_CHANNEL0, (uint8_t)(count >> 8));
}

/* Whenever a thread runs or the monitor works. */
void
clock_tick(void)
{
	if (ticking)
		return;
	ticking = true;
	set_count(CONTROL_CH0_RATE, PIT_HZ / TICK_HZ);
	watchdog_start();
}

void
clock_runs(void)
{
	if (!alarmed)
		clock_tick();
}

/*
 * While nothing runs nobody needs ticks, and a guest's timer may want one sooner. The 8254 counts
 * 55 ms at most; whoever waits for longer is woken between. A control word without a count behind
 * it: nothing is counted (8254, "Mode 0").
 */
void
clock_alarm(uint64_t until)
{
	uint64_t now = clock_ns(), ns = until > now ? until - now : 0;

	if (until == CLOCK_NEVER && !ticking && !alarmed)
		return;
	ticking = false;
	alarmed = until != CLOCK_NEVER;
	alarm_at = until;
	if (alarmed)
		set_count(CONTROL_CH0_ONCE, ns < COUNT_MAX * 1000000000 / PIT_HZ
						    ? ns * PIT_HZ / 1000000000 + 1
						    : COUNT_MAX);
	else
		outb(PIT_CONTROL, CONTROL_CH0_ONCE);
}

void
clock_sooner(uint64_t until)
{
	if (ticking || !alarmed || until < alarm_at)
		clock_alarm(until);
}

static void
tick(void *arg)
{
	need_resched = true;
	sched_cut = ticking ? CUT_TICK : CUT_ALARM;
	alarmed = false;
	if (!ticking)
		return;
	ticks++;
	watchdog_start();
}

void
clock_init(void)
{
	tsc_hz = measure_tsc_hz();
	if (!tsc_hz) {
		printf("clock: the PIT does not count; taking the TSC as 1 GHz\n");
		tsc_hz = DEFAULT_TSC_HZ;
	}
	ns_per_tsc = (1000000000ul << 32) / tsc_hz;
	tsc_at_boot = rdtsc();
	clock_tick();
	irq_register(0, tick, NULL);
}

uint64_t
clock_ns(void)
{
	return (uint64_t)((unsigned __int128)(rdtsc() - tsc_at_boot) * ns_per_tsc >> 32);
}

uint64_t
clock_tsc_hz(void)
{
	return tsc_hz;
}

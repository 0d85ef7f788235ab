/*
 * Time: PIT channel 0 gives the ticks, the TSC gives nanoseconds between them.
 *
 * 8254 = Intel 8254 data sheet, order no. 231164-005.
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <kern/kern.h>
#include <kern/thread.h>
#include <kern/trap.h>

#define PIT_HZ           1193182
#define PIT_CHANNEL0     0x40
#define PIT_CHANNEL2     0x42
#define PIT_CONTROL      0x43
#define CONTROL_CH0_RATE 0x34 /* channel 0, low then high byte, mode 2 */
#define CONTROL_CH2_ONCE 0xb0 /* channel 2, low then high byte, mode 0 */
#define CONTROL_CH2_LOCK 0x80 /* counter latch command for channel 2 */
#define SPEAKER          0x61
#define SPEAKER_GATE2    0x01
#define SPEAKER_ON       0x02

#define CALIBRATE_COUNTS (PIT_HZ / 500) /* 2 ms: 0.04 % is one count */
#define PATIENCE         1000000        /* reads of the PIT before it counts as dead */
#define DEFAULT_TSC_HZ   1000000000ul

volatile uint64_t ticks;

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
tick(void *arg)
{
	ticks++;
	need_resched = true;
	watchdog_start();
}

void
clock_init(void)
{
	unsigned divisor = PIT_HZ / TICK_HZ;

	tsc_hz = measure_tsc_hz();
	if (!tsc_hz) {
		printf("clock: the PIT does not count; taking the TSC as 1 GHz\n");
		tsc_hz = DEFAULT_TSC_HZ;
	}
	ns_per_tsc = (1000000000ul << 32) / tsc_hz;
	tsc_at_boot = rdtsc();
	outb(PIT_CONTROL, CONTROL_CH0_RATE);
	outb(PIT_CHANNEL0, (uint8_t)divisor);
	outb(PIT_CHANNEL0, (uint8_t)(divisor >> 8));
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

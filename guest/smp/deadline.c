/*
 * Deadlines: the timer is told the time stamp at which its interrupt is to come, and the CPU sleeps
 * till then (SDM 3A 11.5.4.1).
 */
#include <guest/smp/smp.h>

#define DEADLINE     0x40000u /* of the timer's entry: its third mode */
#define TSC_DEADLINE 0x6e0
#define CPUID_HAS    24

static uint64_t
now(void)
{
	uint64_t tsc;

	__asm__ volatile("rdtsc" : "=A"(tsc));
	return tsc;
}

static uint32_t
number(const char *s)
{
	uint32_t n = 0;

	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (uint32_t)(*s - '0');
	return n;
}

static void
say_count(uint32_t n, const char *what)
{
	char digits[11], *d = &digits[10];

	*d = 0;
	do
		*--d = (char)('0' + n % 10);
	while (n /= 10);
	print(d);
	print(what);
}

void
deadlines(const char *count)
{
	uint32_t early = 0, set = number(count), step = 2000011;

	if (!(cpuid_word(1, 2) >> CPUID_HAS & 1)) {
		print("CPUID says: no deadlines\n");
		return;
	}
	LAPIC[SVR] = 0x100 | SPURIOUS;
	LAPIC[TIMER] = DEADLINE | TIMER_TICK;
	for (uint32_t n = 1; n <= set; n++) {
		uint64_t at = now() + step;

		step = step * 5 % 300007 + 2000000; /* the hlt comes long before it */
		write_msr(TSC_DEADLINE, (uint32_t)at, (uint32_t)(at >> 32));
		wait_until(&came[0][TIMER_TICK], n);
		early += now() < at;
	}
	say_count(set, " deadlines, ");
	say_count(came[0][TIMER_TICK], " came, ");
	say_count(early, " too early\n");
}

/*
 * The second CPU: it does what the first one tells it.
 */
#include <guest/smp/smp.h>

static void
ticks(void)
{
	LAPIC[DIVIDE] = 3;
	LAPIC[TIMER] = TIMER_TICK | PERIODIC;
	LAPIC[INITIAL] = 60000;
	for (uint32_t n = 1; n <= 3; n++)
		wait_until(&came[1][TIMER_TICK], n);
	LAPIC[TIMER] = MASKED;
	LAPIC[INITIAL] = 0;
	let_in();
}

void
second_main(void)
{
	second_tables();
	LAPIC[SVR] = 0x100 | SPURIOUS;
	LAPIC[LDR] = 2u << 24;
	LAPIC[TPR] = 0;
	task = NOTHING;
	alive = (cpuid_word(1, 1) >> 24) << 16 | ((alive & 0xffff) + 1);
	for (;;) {
		uint32_t now = task;

		if (now == LISTEN) {
			let_in();
			continue;
		}
		if (now == NOTHING)
			continue;
		task = LISTEN;
		if (now == ADD)
			add_locked(&lock, &sum, ADDED);
		else if (now == TICK)
			ticks();
		else if (now == DIE)
			triple_fault();
		else
			halt_once(&came[1][0]);
		done++;
	}
}

/* BUILD: vmm/dev/apic/pm.c */
/*
 * The PM registers (ACPI 4.8.3): the timer's pace and width, its status bit, which bits stay, how
 * narrow accesses reach them, and what switches the machine off.
 */
#include <string.h>

#include <vmm/dev/apic/pm.h>

#include "tap.h"

#define S 1000000000ull

static struct pm p;

static uint32_t
at(unsigned offset, unsigned size, uint64_t now)
{
	return pm_read(&p, offset, size, now);
}

static void
test_timer(void)
{
	pm_init(&p, 0);
	is_u64(at(PM_TIMER, 4, 0), 0, "the timer begins at 0");
	is_u64(at(PM_TIMER, 4, S), PM_TIMER_HZ, "and counts 3,579,545 in a second");
	is_u64(at(PM_TIMER, 4, 1000 * S), 1000ull * PM_TIMER_HZ & 0xffffff, "24 bits of them");
	is_u64(at(PM_TIMER, 4, ~0ull) >> 24, 0, "as late as the clock can be");
	for (unsigned i = 0; i < 4; i++)
		is_u64(at(PM_TIMER + i, 1, S), PM_TIMER_HZ >> (8 * i) & 0xff, "byte %u of it", i);
	is_u64(at(PM_TIMER, 2, S), PM_TIMER_HZ & 0xffff, "half of it");
	pm_write(&p, PM_TIMER, 4, 12345, S);
	is_u64(at(PM_TIMER, 4, S), PM_TIMER_HZ, "it can't be set");
}

static void
test_status(void)
{
	const uint64_t half = (1ull << 23) * S / PM_TIMER_HZ + 1; /* its top bit changes */

	pm_init(&p, 0);
	is_u64(at(PM1_STATUS, 2, half - 1000), 0, "before the top bit changes nothing is said");
	is_u64(at(PM1_STATUS, 2, half), PM1_TMR_STS, "then TMR_STS is set");
	pm_write(&p, PM1_STATUS, 2, 0xfffe, half);
	is_u64(at(PM1_STATUS, 2, half), PM1_TMR_STS, "a 0 leaves it");
	pm_write(&p, PM1_STATUS, 4, PM1_TMR_STS, half);
	is_u64(at(PM1_STATUS, 2, half), 0, "a 1 clears it");
	is_u64(at(PM1_STATUS, 2, 2 * half), PM1_TMR_STS, "until it changes back");
}

static void
test_control(void)
{
	pm_init(&p, 0);
	is_u64(at(PM1_CONTROL, 2, 0), PM1_SCI_EN, "the machine is in ACPI mode");
	pm_write(&p, PM1_CONTROL, 2, 0, 0);
	is_u64(at(PM1_CONTROL, 2, 0), PM1_SCI_EN, "and stays there");
	pm_write(&p, PM1_ENABLE, 2, 0xffff, 0);
	is_u64(at(PM1_ENABLE, 2, 0), 0x720,
	       "events that never come may be enabled, the timer's not");
	pm_write(&p, PM1_ENABLE + 1, 1, 0, 0);
	is_u64(at(PM1_STATUS, 4, 0), 0x20u << 16, "a byte reaches its byte");
	is_u64(pm_write(&p, PM1_CONTROL, 2, PM_S5 << 10, 0), PM_AWAKE, "a type alone is no sleep");
	is_u64(at(PM1_CONTROL, 2, 0), PM_S5 << 10 | PM1_SCI_EN, "and is kept");
	for (int type = 0; type < 8; type++)
		ok(pm_write(&p, PM1_CONTROL, 2, (uint32_t)(type << 10 | PM1_SLP_EN), 0) == type,
		   "with SLP_EN type %d begins", type);
	is_u64(at(PM1_CONTROL, 2, 0) & PM1_SLP_EN, 0, "SLP_EN reads as 0");
	ok(pm_write(&p, PM1_CONTROL + 1, 1, (PM_S5 << 10 | PM1_SLP_EN) >> 8, 0) == PM_S5,
	   "by a byte, too");
	ok(pm_write(&p, PM1_ENABLE, 4, (uint32_t)(PM_S5 << 10 | PM1_SLP_EN) << 16, 0) == PM_S5,
	   "or by 32 bits from the register before");
	ok(pm_write(&p, PM1_CONTROL, 1, 0xff, 0) == PM_AWAKE, "the low byte does nothing");
}

int
main(void)
{
	test_timer();
	test_status();
	test_control();
	return done_testing();
}

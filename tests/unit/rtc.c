/* BUILD: vmm/dev/rtc.c */
/*
 * The MC146818 by its data sheet (rtc.h says which), and its calendar against the C library's.
 */
#include <string.h>
#include <time.h>

#include <vmm/dev/rtc.h>

#include "tap.h"

#define SECOND 1000000000ull
#define START  123456789ull
#define MIB    (1ull << 20)

static struct rtc r;
static uint64_t now;

static void
out(uint8_t n, uint8_t value)
{
	rtc_write(&r, RTC_INDEX, n, now);
	rtc_write(&r, RTC_DATA, value, now);
}

static uint8_t
in(uint8_t n)
{
	rtc_write(&r, RTC_INDEX, n, now);
	return rtc_read(&r, RTC_DATA, now);
}

static void
start(void)
{
	now = START;
	rtc_init(&r, 64 * MIB, now);
}

/* "26-01-31 23:59:59 7": year, month, day, time, day of the week, in whatever format they have. */
static void
shows(const char *want, const char *what)
{
	char got[40];

	snprintf(got, sizeof(got), "%02x-%02x-%02x %02x:%02x:%02x %x", in(RTC_YEAR_OF_CENTURY),
		 in(RTC_MONTH), in(RTC_DAY_OF_MONTH), in(RTC_HOURS), in(RTC_MINUTES),
		 in(RTC_SECONDS), in(RTC_DAY_OF_WEEK));
	if (!ok(!strcmp(got, want), "%s", what))
		diag("got %s, want %s", got, want);
}

static void
set(uint8_t year, uint8_t month, uint8_t day, uint8_t hour, uint8_t minute, uint8_t second,
    uint8_t weekday)
{
	out(RTC_B, in(RTC_B) | RTC_B_SET);
	out(RTC_YEAR_OF_CENTURY, year);
	out(RTC_MONTH, month);
	out(RTC_DAY_OF_MONTH, day);
	out(RTC_HOURS, hour);
	out(RTC_MINUTES, minute);
	out(RTC_SECONDS, second);
	out(RTC_DAY_OF_WEEK, weekday);
	out(RTC_B, in(RTC_B) & ~RTC_B_SET);
}

static void
test_runs(void)
{
	start();
	shows("26-01-01 00:00:00 5", "it starts at the fixed date");
	is_u64(in(RTC_D), 0x80, "VRT: the battery is good");
	is_u64(in(RTC_CENTURY), 0x20, "the BIOS's century");
	is_u64(rtc_read(&r, RTC_INDEX, now), 0xff, "the index port reads as ones");
	now += SECOND - 1;
	shows("26-01-01 00:00:00 5", "one ns before the second");
	now += 1;
	shows("26-01-01 00:00:01 5", "and at it");
	now += 86400 * SECOND * 58 + 86398 * SECOND;
	shows("26-02-28 23:59:59 7", "58 days later");
	now += SECOND;
	shows("26-03-01 00:00:00 1", "no leap year; the week begins again");
}

static void
test_set(void)
{
	start();
	set(0x28, 0x02, 0x28, 0x23, 0x59, 0x58, 2);
	shows("28-02-28 23:59:58 2", "what was set");
	now += 2 * SECOND;
	shows("28-02-29 00:00:00 3", "2028 is a leap year");
	set(0x99, 0x12, 0x31, 0x23, 0x59, 0x59, 7);
	now += SECOND;
	shows("00-01-01 00:00:00 1", "the century wraps");
	out(RTC_B, RTC_B_24 | RTC_B_SET);
	now += 100 * SECOND;
	shows("00-01-01 00:00:00 1", "SET stops the time");
	out(RTC_B, RTC_B_24);
	now += SECOND;
	shows("00-01-01 00:00:01 1", "and it goes on from there");
	out(RTC_MINUTES, 0x30);
	shows("00-01-01 00:30:01 1", "a register written without SET");
}

static void
test_formats(void)
{
	start();
	set(0x26, 0x11, 0x30, 0x17, 0x45, 0x59, 2);
	out(RTC_B, RTC_B_24 | RTC_B_DM);
	shows("1a-0b-1e 11:2d:3b 2", "binary");
	out(RTC_B, RTC_B_DM);
	shows("1a-0b-1e 85:2d:3b 2", "binary, 5 PM");
	out(RTC_B, 0);
	shows("26-11-30 85:45:59 2", "BCD, 5 PM");
	set(0x26, 0x01, 0x01, 0x12, 0x00, 0x00, 5);
	out(RTC_B, RTC_B_24);
	shows("26-01-01 00:00:00 5", "12 AM is midnight");
	out(RTC_B, 0);
	set(0x26, 0x01, 0x01, 0x92, 0x00, 0x00, 5);
	out(RTC_B, RTC_B_24);
	shows("26-01-01 12:00:00 5", "12 PM is noon");
}

static void
test_update(void)
{
	start();
	is_u64(in(RTC_A), 0x26, "no update right after one");
	now += SECOND - 2228001;
	is_u64(in(RTC_A), 0x26, "none 2228 us before the second");
	now += 1;
	is_u64(in(RTC_A), 0xa6, "UIP from then on");
	out(RTC_A, 0xa6);
	out(RTC_B, RTC_B_24 | RTC_B_SET);
	is_u64(in(RTC_A), 0x26, "SET clears UIP, and a write can't set it");
	start();
	now += SECOND / 4;
	out(RTC_A, 0x70);
	now += 5 * SECOND;
	out(RTC_A, 0x26);
	now += SECOND / 2 - 1;
	shows("26-01-01 00:00:00 5", "the divider was held");
	now += 1;
	shows("26-01-01 00:00:01 5", "half a second after its release is the first update");
}

static void
test_flags(void)
{
	start();
	in(RTC_C);
	is_u64(in(RTC_C), 0, "reading C clears it");
	now += SECOND;
	out(RTC_SECONDS_ALARM, 0x30);
	out(RTC_MINUTES_ALARM, 0xff);
	out(RTC_HOURS_ALARM, 0xc0);
	in(RTC_C);
	now += SECOND;
	is_u64(in(RTC_C) & (RTC_C_UF | RTC_C_AF | RTC_C_IRQF), RTC_C_UF, "UF after an update");
	now += 28 * SECOND;
	is_u64(in(RTC_C) & (RTC_C_UF | RTC_C_AF), RTC_C_UF | RTC_C_AF, "AF at second 30");
	now += 59 * SECOND;
	is_u64(in(RTC_C)&RTC_C_AF, 0, "not again before a minute is over");
	now += SECOND;
	is_u64(in(RTC_C)&RTC_C_AF, RTC_C_AF, "but then");
	now += 500000;
	is_u64(in(RTC_C)&RTC_C_PF, 0, "no period is over after 500 us");
	now += 500000;
	is_u64(in(RTC_C)&RTC_C_PF, RTC_C_PF, "PF after 976 us");
	ok(!rtc_irq(&r, now), "no interrupt without an enable");
	out(RTC_B, RTC_B_24 | RTC_B_PIE);
	now += 1000000;
	ok(rtc_irq(&r, now), "PIE: the pin is active");
	is_u64(in(RTC_C) & (RTC_C_IRQF | RTC_C_PF), RTC_C_IRQF | RTC_C_PF, "IRQF with it");
	ok(!rtc_irq(&r, now), "reading C releases the pin");
	out(RTC_B, RTC_B_24 | RTC_B_UIE);
	out(RTC_B, RTC_B_24 | RTC_B_UIE | RTC_B_SET);
	is_u64(in(RTC_B), RTC_B_24 | RTC_B_SET, "SET clears UIE");
}

static void
test_memory(void)
{
	start();
	out(0x40, 0x5a);
	is_u64(in(0xc0), 0x5a, "a byte of RAM; bit 7 of the index is the NMI mask");
	is_u64(in(0x17) | in(0x18) << 8, 63 * 1024, "KiB above 1 MiB");
	is_u64(in(0x30) | in(0x31) << 8, 63 * 1024, "the same again");
	is_u64(in(0x34) | in(0x35) << 8, 48 * 16, "64 KiB above 16 MiB");
	is_u64(in(0x15) | in(0x16) << 8, 640, "KiB of conventional memory");
	rtc_init(&r, 1024 * MIB, now);
	is_u64(in(0x17) | in(0x18) << 8, 0xffff, "no more than fits");
}

/* Every day from 2026 to 2099 and an hour that wanders, against gmtime(). */
static void
test_calendar(void)
{
	unsigned wrong = 0;

	start();
	for (unsigned day = 0; day < 27028; day++) {
		time_t t = 1767225600 + day * 86400l + day % 24 * 3600l;
		struct tm tm;

		now = START + (day * 86400ull + day % 24 * 3600) * SECOND;
		gmtime_r(&t, &tm);
		rtc_write(&r, RTC_INDEX, RTC_B, START);
		r.reg[RTC_B] = RTC_B_24 | RTC_B_DM;
		wrong += in(RTC_YEAR_OF_CENTURY) != tm.tm_year - 100 ||
			 in(RTC_MONTH) != tm.tm_mon + 1 || in(RTC_DAY_OF_MONTH) != tm.tm_mday ||
			 in(RTC_HOURS) != tm.tm_hour || in(RTC_DAY_OF_WEEK) != tm.tm_wday + 1;
	}
	is_u64(wrong, 0, "each day until 2099 is the C library's");
}

/* Any bytes in any order: nothing undefined, and a time that is one. */
static void
test_any(void)
{
	uint64_t seed = 20260101;
	unsigned bad = 0;

	start();
	for (unsigned i = 0; i < 200000; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		now += seed >> 36;
		if (seed >> 20 & 1)
			out(seed >> 8 & 15, seed >> 24);
		else
			in(seed >> 8 & 15);
		if (i % 64 == 0) {
			out(RTC_A, 0x26);
			out(RTC_B, RTC_B_24 | RTC_B_DM);
			bad += in(RTC_SECONDS) > 59 || in(RTC_HOURS) > 23 || in(RTC_MONTH)-1 > 11 ||
			       in(RTC_DAY_OF_MONTH)-1 > 30 || in(RTC_DAY_OF_WEEK)-1 > 6;
		}
	}
	is_u64(bad, 0, "random accesses leave a time that is one");
}

int
main(void)
{
	test_runs();
	test_set();
	test_formats();
	test_update();
	test_flags();
	test_memory();
	test_calendar();
	test_any();
	return done_testing();
}

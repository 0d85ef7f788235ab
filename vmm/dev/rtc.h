/*
 * The PC's clock with its 128 bytes of memory ("CMOS") as a plain state machine: no kernel calls,
 * no pointers in the state.
 *
 * MC146818 = Motorola MC146818 Real-Time Clock Plus RAM, data sheet ADI-856-R1, 1984.
 *
 * Nothing ticks: time, flags and the update in progress are computed from `now`, nanoseconds of the
 * domain's clock. It starts at RTC_YEAR, 1 January, midnight, so that runs repeat. Its calendar is
 * the chip's: two digits of the year, and a leap year is one that 4 divides. The interrupt is
 * modelled (rtc_irq), the square wave is not. The bytes behind register D are those of a PC AT; the
 * sizes of memory stand where its BIOS puts them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTC_VERSION 1
#define RTC_INDEX   0x70
#define RTC_DATA    0x71
#define RTC_YEAR    2026
#define RTC_WEEKDAY 5 /* Thursday: 1 is Sunday */

enum rtc_reg {
	RTC_SECONDS,
	RTC_SECONDS_ALARM,
	RTC_MINUTES,
	RTC_MINUTES_ALARM,
	RTC_HOURS,
	RTC_HOURS_ALARM,
	RTC_DAY_OF_WEEK,
	RTC_DAY_OF_MONTH,
	RTC_MONTH,
	RTC_YEAR_OF_CENTURY,
	RTC_A,
	RTC_B,
	RTC_C,
	RTC_D,
	RTC_CENTURY = 0x32, /* a byte of the BIOS's: the chip does not count it */
	RTC_REGS = 128,
};

#define RTC_A_UIP     0x80
#define RTC_A_DV_HOLD 0x60 /* with either value of bit 4 */
#define RTC_A_RS      0x0f
#define RTC_B_SET     0x80
#define RTC_B_PIE     0x40
#define RTC_B_UIE     0x10
#define RTC_B_DM      0x04 /* binary, not BCD */
#define RTC_B_24      0x02
#define RTC_C_IRQF    0x80
#define RTC_C_PF      0x40
#define RTC_C_AF      0x20
#define RTC_C_UF      0x10
#define RTC_D_VRT     0x80

struct rtc {
	uint32_t version;
	uint32_t phase;   /* where in a second of `now` the chip's seconds begin, ns */
	uint64_t since;   /* the tick at which `seconds` was right */
	uint64_t seconds; /* since the century began */
	uint64_t seen;    /* ns up to which reg[RTC_C] is right */
	uint8_t index;    /* what the next access to the data port means */
	uint8_t day;      /* of the week, at `since`: 0-6 */
	uint8_t pad[6];
	uint8_t reg[RTC_REGS]; /* time only while it stands still */
};
_Static_assert(sizeof(struct rtc) == 168, "the migration record depends on it");

/* ram: bytes of the machine's memory. */
void rtc_init(struct rtc *r, uint64_t ram, uint64_t now);
uint8_t rtc_read(struct rtc *r, uint16_t port, uint64_t now);
void rtc_write(struct rtc *r, uint16_t port, uint8_t value, uint64_t now);
bool rtc_irq(struct rtc *r, uint64_t now); /* the IRQ pin is active */

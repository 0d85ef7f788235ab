/*
 * MC146818 clock. rtc.h says what is modelled, and MC146818 which edition.
 */
#include <vmm/dev/rtc.h>

#define SECOND      1000000000ul
#define UPDATE      (244000ul + 1984000ul) /* MC146818 table 6: t_BUC and t_UC at 32.768 kHz */
#define DAY         86400u
#define CRYSTAL     32768ul
#define NO_ALARM    0xc0 /* both high bits: any value will do */
#define HOURS_PM    0x80
#define KIB         1024ul
#define MIB         (1024 * KIB)
#define EXTENDED_AT 0x17 /* the PC AT's bytes: KiB above 1 MiB, twice */
#define ABOVE16_AT  0x34 /* a later convention: 64 KiB above 16 MiB */

struct date {
	unsigned year, month, day; /* 0-99, 0-11, 0-30 */
	unsigned hour, minute, second;
};

static uint64_t
tick_of(const struct rtc *r, uint64_t now)
{
	return (now + SECOND - r->phase) / SECOND;
}

/* MC146818 "Register B, SET" and "Register A, DV2, DV1, DV0". */
static bool
runs(const struct rtc *r)
{
	return !(r->reg[RTC_B] & RTC_B_SET) && (r->reg[RTC_A] & RTC_A_DV_HOLD) != RTC_A_DV_HOLD;
}

static unsigned
month_days(unsigned year, unsigned month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month] + (month == 1 && year % 4 == 0);
}

static struct date
date_of(uint64_t seconds)
{
	unsigned days = seconds / DAY % 36525, rest = seconds % DAY;
	struct date d = { .hour = rest / 3600, .minute = rest / 60 % 60, .second = rest % 60 };

	d.year = days / 1461 * 4;
	days %= 1461;
	while (days >= 365 + (d.year % 4 == 0)) {
		days -= 365 + (d.year % 4 == 0);
		d.year++;
	}
	while (days >= month_days(d.year, d.month))
		days -= month_days(d.year, d.month++);
	d.day = days;
	return d;
}

static uint64_t
seconds_of(const struct date *d)
{
	uint64_t days = d->day + d->year * 365 + (d->year + 3) / 4;

	for (unsigned m = 0; m < d->month; m++)
		days += month_days(d->year, m);
	return days * DAY + d->hour * 3600 + d->minute * 60 + d->second;
}

static uint8_t
encode(const struct rtc *r, unsigned value)
{
	return r->reg[RTC_B] & RTC_B_DM ? value : value / 10 << 4 | value % 10;
}

/*
 * A digit above 9 is worth its value; what is beyond the field's range wraps, so that any byte
 * means something.
 */
static unsigned
decode(const struct rtc *r, uint8_t raw, unsigned range)
{
	return (r->reg[RTC_B] & RTC_B_DM ? raw : (raw >> 4) * 10 + (raw & 15)) % range;
}

/* MC146818 table 3: in 12-hour mode bit 7 is PM, and the hours are 1 to 12. */
static uint8_t
encode_hour(const struct rtc *r, unsigned hour)
{
	if (r->reg[RTC_B] & RTC_B_24)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOURS_PM : 0);
}

static unsigned
decode_hour(const struct rtc *r, uint8_t raw)
{
	if (r->reg[RTC_B] & RTC_B_24)
		return decode(r, raw, 24);
	return decode(r, raw & ~HOURS_PM, 12) + (raw & HOURS_PM ? 12 : 0);
}

static uint64_t
seconds_now(const struct rtc *r, uint64_t now)
{
	return r->seconds + tick_of(r, now) - r->since;
}

/* The time registers as they read now. */
static void
show(struct rtc *r, uint64_t now)
{
	uint64_t seconds = seconds_now(r, now);
	unsigned days = seconds / DAY - r->seconds / DAY;
	struct date d = date_of(seconds);

	r->reg[RTC_SECONDS] = encode(r, d.second);
	r->reg[RTC_MINUTES] = encode(r, d.minute);
	r->reg[RTC_HOURS] = encode_hour(r, d.hour);
	r->reg[RTC_DAY_OF_WEEK] = encode(r, (r->day + days) % 7 + 1);
	r->reg[RTC_DAY_OF_MONTH] = encode(r, d.day + 1);
	r->reg[RTC_MONTH] = encode(r, d.month + 1);
	r->reg[RTC_YEAR_OF_CENTURY] = encode(r, d.year);
}

/* Goes on from what the time registers say. Impossible days wrap into the month. */
static void
take(struct rtc *r, uint64_t now)
{
	struct date d = { .second = decode(r, r->reg[RTC_SECONDS], 60),
			  .minute = decode(r, r->reg[RTC_MINUTES], 60),
			  .hour = decode_hour(r, r->reg[RTC_HOURS]),
			  .month = (decode(r, r->reg[RTC_MONTH], 13) + 11) % 12,
			  .year = decode(r, r->reg[RTC_YEAR_OF_CENTURY], 100) };
	unsigned days = month_days(d.year, d.month);

	d.day = (decode(r, r->reg[RTC_DAY_OF_MONTH], days + 1) + days - 1) % days;
	r->day = (decode(r, r->reg[RTC_DAY_OF_WEEK], 8) + 6) % 7;
	r->seconds = seconds_of(&d);
	r->since = tick_of(r, now);
}

static bool
alarm_at(const struct rtc *r, uint64_t seconds)
{
	struct date d = date_of(seconds);
	uint8_t second = r->reg[RTC_SECONDS_ALARM], minute = r->reg[RTC_MINUTES_ALARM],
		hour = r->reg[RTC_HOURS_ALARM];

	return (second >= NO_ALARM || second == encode(r, d.second)) &&
	       (minute >= NO_ALARM || minute == encode(r, d.minute)) &&
	       (hour >= NO_ALARM || hour == encode_hour(r, d.hour));
}

/* ns of a period; 0: none. MC146818 table 5: the rates 1 and 2 are those of 8 and 9. */
static uint64_t
period(const struct rtc *r)
{
	unsigned rate = r->reg[RTC_A] & RTC_A_RS;

	if (!rate)
		return 0;
	if (rate < 3)
		rate += 7;
	return (SECOND << (rate - 1)) / CRYSTAL;
}

/* Brings the flags of register C up to now. They are set whether or not they interrupt. */
static void
advance(struct rtc *r, uint64_t now)
{
	uint64_t from = tick_of(r, r->seen), to = tick_of(r, now);

	if (now < r->seen)
		return;
	if (runs(r) && to > from) {
		r->reg[RTC_C] |= RTC_C_UF;
		if (to - from > DAY) /* a day has seen every alarm that there can be */
			from = to - DAY;
		for (uint64_t t = from + 1; t <= to && !(r->reg[RTC_C] & RTC_C_AF); t++)
			if (alarm_at(r, r->seconds + t - r->since))
				r->reg[RTC_C] |= RTC_C_AF;
	}
	if (period(r) &&
	    (now + SECOND - r->phase) / period(r) != (r->seen + SECOND - r->phase) / period(r))
		r->reg[RTC_C] |= RTC_C_PF;
	r->seen = now;
}

static void
write_control(struct rtc *r, enum rtc_reg n, uint8_t value, uint64_t now)
{
	bool ran = runs(r), held = (r->reg[RTC_A] & RTC_A_DV_HOLD) == RTC_A_DV_HOLD;

	if (n == RTC_A)
		value &= ~RTC_A_UIP;
	if (n == RTC_B && value & RTC_B_SET)
		value &= ~RTC_B_UIE; /* MC146818 "UIE": "the SET bit going high clears it" */
	r->reg[n] = value;
	if (held && n == RTC_A && (value & RTC_A_DV_HOLD) != RTC_A_DV_HOLD)
		r->phase =
			(now + SECOND / 2) % SECOND; /* the first update is half a second later */
	if (ran)
		show(r, now); /* in the new format, and for good if it stands still now */
	else if (runs(r))
		take(r, now);
}

static void
write_register(struct rtc *r, uint8_t n, uint8_t value, uint64_t now)
{
	switch (n) {
	case RTC_A:
	case RTC_B:
		write_control(r, n, value, now);
		return;
	case RTC_C:
	case RTC_D:
		return; /* read only */
	case RTC_SECONDS:
	case RTC_MINUTES:
	case RTC_HOURS:
	case RTC_DAY_OF_WEEK:
	case RTC_DAY_OF_MONTH:
	case RTC_MONTH:
	case RTC_YEAR_OF_CENTURY:
		if (runs(r))
			show(r, now);
		r->reg[n] = value;
		if (runs(r))
			take(r, now);
		return;
	default:
		r->reg[n] = value;
	}
}

void
rtc_write(struct rtc *r, uint16_t port, uint8_t value, uint64_t now)
{
	advance(r, now);
	if (port == RTC_INDEX)
		r->index = value & (RTC_REGS - 1); /* bit 7 masks NMI on a PC AT */
	else
		write_register(r, r->index, value, now);
}

bool
rtc_irq(struct rtc *r, uint64_t now)
{
	advance(r, now);
	return r->reg[RTC_C] & r->reg[RTC_B] & (RTC_C_PF | RTC_C_AF | RTC_C_UF);
}

uint8_t
rtc_read(struct rtc *r, uint16_t port, uint64_t now)
{
	bool irq = rtc_irq(r, now), updating;
	uint8_t value;

	if (port == RTC_INDEX)
		return 0xff; /* the index can't be read */
	switch (r->index) {
	case RTC_A:
		updating = runs(r) && (now + SECOND - r->phase) % SECOND >= SECOND - UPDATE;
		return r->reg[RTC_A] | (updating ? RTC_A_UIP : 0);
	case RTC_C:
		value = r->reg[RTC_C] | (irq ? RTC_C_IRQF : 0);
		r->reg[RTC_C] = 0;
		return value;
	case RTC_D:
		return RTC_D_VRT;
	}
	if (runs(r))
		show(r, now);
	return r->reg[r->index];
}

static void
put16(struct rtc *r, unsigned at, uint64_t value)
{
	r->reg[at] = value > 0xffff ? 0xff : value;
	r->reg[at + 1] = value > 0xffff ? 0xff : value >> 8;
}

void
rtc_init(struct rtc *r, uint64_t ram, uint64_t now)
{
	struct date start = { .year = RTC_YEAR % 100 };

	*r = (struct rtc){ .version = RTC_VERSION, .phase = now % SECOND, .seen = now };
	r->reg[RTC_A] = 0x26; /* 32.768 kHz, 1024 periods a second: as a PC's firmware leaves it */
	r->reg[RTC_B] = RTC_B_24;
	r->reg[RTC_CENTURY] = RTC_YEAR / 1000 << 4 | RTC_YEAR / 100 % 10;
	r->seconds = seconds_of(&start);
	r->since = tick_of(r, now);
	r->day = RTC_WEEKDAY - 1;
	put16(r, 0x15, 640);
	put16(r, EXTENDED_AT, ram > MIB ? (ram - MIB) / KIB : 0);
	put16(r, EXTENDED_AT + 0x19, ram > MIB ? (ram - MIB) / KIB : 0);
	put16(r, ABOVE16_AT, ram > 16 * MIB ? (ram - 16 * MIB) / (64 * KIB) : 0);
}

/*
 * PM1a and the PM timer; pm.h says what and from which manual.
 */
#include <vmm/dev/apic/pm.h>

#define NS_PER_S 1000000000ull

static uint64_t
timer_ticks(uint64_t now)
{
	return now / NS_PER_S * PM_TIMER_HZ + now % NS_PER_S * PM_TIMER_HZ / NS_PER_S;
}

/* TMR_STS is set whenever the top bit changes, either way (ACPI 4.8.3.3). */
static uint64_t
timer_carries(uint64_t now)
{
	return timer_ticks(now) >> (PM_TIMER_BITS - 1);
}

void
pm_init(struct pm *p, uint64_t now)
{
	*p = (struct pm){ .version = PM_STATE,
			  .control = PM1_SCI_EN,
			  .carries = timer_carries(now) };
}

static uint32_t
pm_register(const struct pm *p, unsigned offset, uint64_t now)
{
	switch (offset) {
	case PM1_STATUS:
		return timer_carries(now) != p->carries ? PM1_TMR_STS : 0;
	case PM1_ENABLE:
		return p->enable;
	case PM1_CONTROL:
		return p->control;
	case PM_TIMER:
		return timer_ticks(now) & 0xffff;
	case PM_TIMER + 2:
		return timer_ticks(now) >> 16 & ((1u << (PM_TIMER_BITS - 16)) - 1);
	default:
		return 0;
	}
}

static uint32_t
pm_byte(const struct pm *p, unsigned offset, uint64_t now)
{
	return pm_register(p, offset & ~1u, now) >> (offset & 1 ? 8 : 0) & 0xff;
}

uint32_t
pm_read(const struct pm *p, unsigned offset, unsigned size, uint64_t now)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= pm_byte(p, offset + i, now) << (8 * i);
	return value;
}

/* `mask` are the bits of the 16-bit register that this write reaches. */
static int
write_register(struct pm *p, unsigned offset, uint16_t mask, uint16_t value, uint64_t now)
{
	const uint16_t may = offset == PM1_ENABLE ? PM1_GBL_EN | PM1_BUTTONS_RTC : PM1_SLP_TYP_MASK;

	switch (offset) {
	case PM1_STATUS:
		if (value & mask & PM1_TMR_STS) /* a 1 clears it */
			p->carries = timer_carries(now);
		break;
	case PM1_ENABLE:
		p->enable = (uint16_t)((p->enable & ~(mask & may)) | (value & mask & may));
		break;
	case PM1_CONTROL:
		p->control = (uint16_t)((p->control & ~(mask & may)) | (value & mask & may));
		if (value & mask & PM1_SLP_EN) /* it reads as 0 */
			return PM1_SLP_TYP(p->control);
		break;
	}
	return PM_AWAKE;
}

int
pm_write(struct pm *p, unsigned offset, unsigned size, uint32_t value, uint64_t now)
{
	int sleep = PM_AWAKE;

	for (unsigned i = 0; i < size; i++) {
		unsigned shift = (offset + i) & 1 ? 8 : 0;
		uint16_t byte = (uint16_t)((value >> (8 * i) & 0xff) << shift);
		int type =
			write_register(p, (offset + i) & ~1u, (uint16_t)(0xff << shift), byte, now);

		sleep = type != PM_AWAKE ? type : sleep;
	}
	return sleep;
}

/*
 * ACPI's fixed registers as a plain state machine, no pointers in the state: the event and control
 * registers PM1a and the PM timer (Advanced Configuration and Power Interface Specification 6.4,
 * 4.8.3; "ACPI" below). They lie where QEMU's PIIX4 has them.
 *
 * What is simpler than the chip: no event comes. There is no button, the clock's alarm does not
 * wake, and the timer's carry sets its status bit but raises no interrupt: TMR_EN stays 0. The
 * machine is in ACPI mode from the start, so SCI_EN is 1 always and FADT names no SMI port.
 */
#pragma once

#include <stdint.h>

#define PM_STATE 1 /* the layout's version */

#define PM_BASE     0x600
#define PM1_STATUS  0 /* offsets */
#define PM1_ENABLE  2
#define PM1_CONTROL 4
#define PM_TIMER    8
#define PM_END      12

#define PM_TIMER_HZ   3579545u
#define PM_TIMER_BITS 24
#define PM_S5         5 /* the type that \_S5 names (acpi.c) */

#define PM1_TMR_STS          0x0001
#define PM1_GBL_EN           0x0020
#define PM1_BUTTONS_RTC      0x0700 /* PWRBTN_EN, SLPBTN_EN, RTC_EN */
#define PM1_SCI_EN           0x0001
#define PM1_SLP_TYP(control) ((control) >> 10 & 7)
#define PM1_SLP_TYP_MASK     0x1c00
#define PM1_SLP_EN           0x2000
#define PM_AWAKE             (-1)

struct pm {
	uint32_t version; /* PM_STATE */
	uint16_t enable, control;
	uint64_t carries; /* of the timer's top bit, when its status was cleared last */
};

void pm_init(struct pm *p, uint64_t now);
/* now: ns of the domain's clock. Any size and offset: what is beyond the registers reads as 0. */
uint32_t pm_read(const struct pm *p, unsigned offset, unsigned size, uint64_t now);
/* The type of the sleep that begins now, or PM_AWAKE. */
int pm_write(struct pm *p, unsigned offset, unsigned size, uint32_t value, uint64_t now);

/*
 * The classic PC (pc.c): COM1, two 8259s, an 8254, a clock, a keyboard controller, a text display.
 */
#pragma once

#include <kern/kern.h>
#include <vmm/dev/crtc.h>
#include <vmm/dev/i8042.h>
#include <vmm/dev/pic.h>
#include <vmm/dev/pit.h>
#include <vmm/dev/rtc.h>
#include <vmm/dev/uart.h>
#include <vmm/domain.h>

struct pc {
	struct domain *domain;
	struct uart uart;
	struct pic pic;
	struct pit pit;
	struct rtc rtc;
	struct i8042 i8042;
	struct crtc crtc;
	uint64_t pit_edges;  /* how many of its edges IRQ 0 has been told */
	unsigned uart_polls; /* of its UART's line status, one after the other */
};

static inline struct pc *
pc_of(struct domain *d)
{
	return d->machine;
}

/*
 * What brings a device's line up to date, by a registered table: Lab 1B adds the UART's. It is
 * asked when a turn begins, after each access to a device, and at a sleeping vCPU's deadline.
 */
struct pc_line {
	void (*update)(struct pc *pc);
};
#define PC_LINE(fn)                                        \
	static const struct pc_line pc_line_##fn = { fn }; \
	SET_ADD(pc_lines, pc_line_##fn)

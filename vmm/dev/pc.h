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
#include <vmm/dev/io.h>
#include <vmm/domain.h>

struct pc;

/* Where the 8254's edges go: to the 8259s, and to whatever else a platform has. */
struct pc_wire {
	bool (*waits)(struct pc *pc); /* the last one has not been taken yet */
	void (*pulse)(struct pc *pc);
};
extern const struct pc_wire pc_classic;

struct pc {
	struct domain *domain;
	const struct pc_wire *wire;
	struct uart uart;
	struct pic pic;
	struct pit pit;
	struct rtc rtc;
	struct i8042 i8042;
	struct crtc crtc;
	uint64_t now;              /* of the domain's clock: its lines are looked at */
	uint64_t pit_next;         /* before that time it has no new edge, if nobody writes to it */
	uint64_t pit_edges;        /* how many of its edges IRQ 0 has been told */
	unsigned uart_polls;       /* of its UART's line status, one after the other */
	unsigned key_polls;        /* ... of its keyboard controller's */
	uint64_t key_next;         /* no key comes before that time */
	bool key_taken, key_stirs; /* by this access: low for once; its line may have to move */
};

static inline struct pc *
pc_of(struct domain *d)
{
	return d->machine;
}

/* pc.c: what a platform that has these devices, and others, is made of. */
extern const struct io_range pc_ports[];
void pc_make(struct pc *pc, struct domain *d, const struct pc_wire *wire);
void pc_free(struct domain *d); /* d->machine is one frame */
const struct crtc *pc_display(struct domain *d);
void pc_update_lines(struct domain *d);
uint64_t pc_deadline(struct domain *d);  /* ... while its 8259s alone listen */
uint64_t pc_next_edge(struct domain *d); /* of the 8254, in ns of the domain's clock */
uint64_t pc_next_key(struct domain *d);  /* when it may come; CLOCK_NEVER: that depends on others */
void pc_forget_edges(struct pc *pc);     /* those that nobody has been told */

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

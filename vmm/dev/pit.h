/*
 * The PC's 8254 timer and port 0x61 as a plain state machine: no kernel calls, no pointers in the
 * state.
 *
 * 8254 = Intel 8254 Programmable Interval Timer, order no. 231164-005, September 1993.
 *
 * Nothing ticks: counters and outputs are computed from `now`, nanoseconds of the domain's clock,
 * which must not run backwards (a smaller `now` is taken as the last one). CLK is 1193182 Hz
 * exactly: pulse t ends at t * 500000000 / 596591 ns, rounded up, and no sum here overflows in the
 * 584 years that fit in `now`.
 *
 * What the datasheet leaves open: a count of 1 in modes 2 and 3, which is illegal, counts as 2. A
 * digit above 9 in a BCD count is worth its value (0x1a is 20). Port 0x61's refresh bit toggles
 * every 18 pulses (15 us) whatever channel 1 does, since a chipset has a refresh timer of its own.
 *
 * Ports are 8 bits wide. Wider accesses are the bus's to split: each byte goes to its own port.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PIT_VERSION 1
#define PIT_HZ      1193182
#define PIT_BASE    0x40 /* three counters, then the control word at 0x43 */
#define PIT_CONTROL 0x43
#define PIT_PORT_B  0x61
#define PIT_NEVER   UINT64_MAX

#define PORT_B_GATE2   0x01
#define PORT_B_SPEAKER 0x02
#define PORT_B_ENABLES 0x0c /* parity and channel check, kept but without effect */
#define PORT_B_REFRESH 0x10
#define PORT_B_OUT2    0x20

struct pit_channel {
	uint64_t start;   /* pulse at which the counting element held `count` */
	uint64_t at;      /* pulse up to which `edges` is right */
	uint64_t load_at; /* pulse at which `next` enters the counting element, or PIT_NEVER */
	uint64_t edges;   /* rising edges of OUT since reset */
	uint64_t held;    /* pulses counted when counting stopped, while PIT_HELD */
	uint32_t count;   /* what was loaded last, 1-65536 */
	uint32_t next;    /* the count register, 1-65536 */
	uint16_t stale;   /* what the counting element shows while PIT_IDLE */
	uint16_t latch;
	uint8_t control; /* bits 5-0 of the control word */
	uint8_t mode;    /* 0-5 */
	uint8_t phase;   /* enum pit_phase */
	uint8_t gate;
	uint8_t armed;                 /* a whole count was written since the control word */
	uint8_t null;                  /* the count register is newer than the counting element */
	uint8_t low;                   /* first byte of a two-byte count */
	uint8_t write_high, read_high; /* the next byte is the second of two */
	uint8_t latched;               /* bytes of `latch` still to be read */
	uint8_t status_latched, status;
};

enum pit_phase {
	PIT_IDLE, /* not loaded since the control word */
	PIT_COUNTING,
	PIT_HELD, /* loaded, but GATE is low */
};

struct pit {
	uint32_t version;
	uint32_t port_b; /* the bits of port 0x61 that can be written */
	struct pit_channel ch[3];
};
_Static_assert(sizeof(struct pit_channel) == 64, "the migration record depends on it");
_Static_assert(sizeof(struct pit) == 200, "the migration record depends on it");

/*
 * Power-up leaves an 8254 undefined. Ours starts as a PC's firmware leaves it: channel 0 in mode 2
 * with count 65536 since `now`, channel 1 in mode 2 with 18, channel 2 without a count in mode 3
 * and its gate closed.
 */
void pit_init(struct pit *p, uint64_t now);

/* port is 0x40-0x43 or 0x61; any other, and 0x43 (three-state on a read), reads as ones. */
uint8_t pit_read(struct pit *p, uint16_t port, uint64_t now);
void pit_write(struct pit *p, uint16_t port, uint8_t value, uint64_t now);

bool pit_out(const struct pit *p, unsigned channel, uint64_t now);

/*
 * Rising edges of channel 0's OUT, the interrupt request of IRQ 0. A caller that keeps the last
 * pit_edge_count() loses none, however late it comes and whatever was written in between:
 *
 *	for (uint64_t n = pit_edge_count(p, now); seen < n; seen++)
 *		the line falls and rises
 *
 * pit_next_irq0() is the first ns after `now` at which the count will be higher, or PIT_NEVER.
 */
uint64_t pit_edge_count(const struct pit *p, uint64_t now);
uint64_t pit_next_irq0(const struct pit *p, uint64_t now);

/*
 * A CPU's local APIC as a plain state machine: no kernel calls, no pointers in the state. Its mode
 * is xAPIC; x2apic.h has the other one.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 *
 * What is simpler than the chip:
 * - A message is sent and accepted at once: the delivery status bits read as 0.
 * - LINT0 is the 8259's wire (ExtINT) or masked, and nothing comes by LINT1, the thermal sensor and
 *   the performance counters: their entries can be written and read.
 * - The arbitration and remote read registers are reserved since the Pentium 4, and read as 0.
 * - The timer counts once a nanosecond of the domain's clock, divided as its register says. Nothing
 *   ticks: the count is computed from `now`.
 *
 * Registers are 32 bits wide, 16 bytes apart. What a narrower access or one that is not aligned
 * does is not defined (SDM 3A 11.4.1): the platform lets none through.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <vmm/dev/apic/message.h>

#define LAPIC_STATE   3 /* the layout's version */
#define LAPIC_BASE    0xfee00000ul
#define LAPIC_SIZE    0x1000ul
#define LAPIC_VERSION 0x50014 /* integrated, six entries in the local vector table */
#define LAPIC_NEVER   UINT64_MAX
#define LAPIC_NONE    (-1)

/* Offsets of registers (SDM 3A table 11-1). */
enum lapic_register {
	LAPIC_REG_ID = 0x20,
	LAPIC_REG_VERSION = 0x30,
	LAPIC_REG_TPR = 0x80,
	LAPIC_REG_PPR = 0xa0,
	LAPIC_REG_EOI = 0xb0,
	LAPIC_REG_LDR = 0xd0,
	LAPIC_REG_DFR = 0xe0,
	LAPIC_REG_SVR = 0xf0,
	LAPIC_REG_ISR = 0x100, /* eight of them, as of the next two */
	LAPIC_REG_TMR = 0x180,
	LAPIC_REG_IRR = 0x200,
	LAPIC_REG_ESR = 0x280,
	LAPIC_REG_ICR = 0x300,
	LAPIC_REG_ICR_HIGH = 0x310,
	LAPIC_REG_LVT = 0x320, /* six: enum lapic_lvt */
	LAPIC_REG_INITIAL = 0x380,
	LAPIC_REG_CURRENT = 0x390,
	LAPIC_REG_DIVIDE = 0x3e0,
};

enum lapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_COUNTERS, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };

#define LVT_LEVEL    0x8000u
#define LVT_MASKED   0x10000u
#define LVT_PERIODIC 0x20000u
#define LVT_DEADLINE 0x40000u /* of the timer's, where the build has deadline.h's functions */
#define SVR_ENABLED  0x100u

#define ESR_SEND_ILLEGAL    0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_ILLEGAL_ADDRESS 0x80u

struct lapic {
	uint32_t version; /* LAPIC_STATE */
	uint32_t id;      /* as the register has it: in bits 31:24, an x2APIC's in all */
	uint32_t tpr, ldr, dfr, svr;
	uint32_t esr, errors; /* as it reads; what has come since it was written */
	uint32_t icr[2];
	uint32_t lvt[LVTS];
	uint32_t divide, initial;
	uint32_t isr[8], tmr[8], irr[8]; /* a bit for each vector */
	uint8_t counting;
	uint8_t has_deadline;  /* LVT_DEADLINE can be written */
	uint8_t x2, off;       /* its mode: neither of the two is xAPIC */
	uint64_t start;        /* ns at which `initial` was loaded */
	uint64_t fired;        /* how often the count has come to 0 since then */
	uint64_t tsc_deadline; /* IA32_TSC_DEADLINE; 0: the timer is not armed */
};
_Static_assert(sizeof(struct lapic) == 200, "the migration record depends on it");

/* As after power-up or, but for its ID, INIT (SDM 3A 11.4.7.1, 11.4.7.3). */
void lapic_init(struct lapic *l, uint8_t id, bool has_deadline);

/* What the platform has to do behind a write. */
enum lapic_effect {
	LAPIC_DONE,
	LAPIC_SEND, /* *message, which the guest has written into ICR */
	LAPIC_EOI,  /* the I/O APIC hears of the end of level-triggered message->vector */
};

/* offset is that of a register; `now` is in ns of the domain's clock. */
uint32_t lapic_read(struct lapic *l, unsigned offset, uint64_t now);
enum lapic_effect lapic_write(struct lapic *l, unsigned offset, uint32_t value, uint64_t now,
			      struct apic_message *message);

/* The bits of an entry that can be written. */
uint32_t lapic_lvt_bits(const struct lapic *l, unsigned which);

/* Whether a message for these is for this one (SDM 3A 11.6.2 "Determining IPI Destination"). */
bool lapic_is_meant(const struct lapic *l, const struct apic_message *m);
/* A fixed interrupt has come. */
void lapic_accept(struct lapic *l, uint8_t vector, bool level);

/* The timer up to now; the next ns at which there will be more, or LAPIC_NEVER. */
void lapic_tick(struct lapic *l, uint64_t now);
uint64_t lapic_deadline(const struct lapic *l);

/* The vector that the CPU would get now, or LAPIC_NONE; and it has it: it is in service. */
int lapic_pending(const struct lapic *l);
uint8_t lapic_ack(struct lapic *l);
/* Whether the 8259's wire, LINT0, leads through to the CPU. */
bool lapic_passes_8259(const struct lapic *l);
uint8_t lapic_ppr(const struct lapic *l); /* SDM 3A 11.8.3.1 "Task and Processor Priorities" */

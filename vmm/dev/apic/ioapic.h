/*
 * The I/O APIC as a plain state machine: no kernel calls, no pointers in the state. It turns lines
 * of devices into messages for local APICs.
 *
 * 82093AA = Intel 82093AA I/O Advanced Programmable Interrupt Controller (IOAPIC), order no.
 * 290566-001, May 1996. From later chipsets (version 0x20) it has the register that ends an
 * interrupt by its vector.
 *
 * What is simpler than the chip:
 * - A message is accepted at once: the delivery status bits read as 0.
 * - A line is asserted or not, whatever an entry says of its polarity.
 * - An entry's delivery mode ExtINT sends nothing: the 8259's wire goes to the first CPU's LINT0.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <vmm/dev/apic/message.h>

#define IOAPIC_STATE   1 /* the layout's version */
#define IOAPIC_BASE    0xfec00000ul
#define IOAPIC_SIZE    0x1000ul
#define IOAPIC_PINS    24u
#define IOAPIC_VERSION 0x00170020 /* 24 entries */

#define IOAPIC_SELECT 0x00 /* offsets in memory: which register the window shows */
#define IOAPIC_WINDOW 0x10
#define IOAPIC_EOI    0x40

#define IOAPIC_REG_ID      0x00
#define IOAPIC_REG_VERSION 0x01
#define IOAPIC_REG_ARB     0x02
#define IOAPIC_REG_ENTRY   0x10 /* two of each pin: the low half, the high one */

/* An entry (82093AA 3.2.4 "I/O Redirection Table Registers"). */
#define ENTRY_VECTOR     0xffull
#define ENTRY_MODE(e)    ((e) >> 8 & 7)
#define ENTRY_LOGICAL    0x800ull
#define ENTRY_REMOTE_IRR 0x4000ull
#define ENTRY_LEVEL      0x8000ull
#define ENTRY_MASKED     0x10000ull
#define ENTRY_WRITABLE   0xff0000000001afffull

struct ioapic {
	uint32_t version; /* IOAPIC_STATE */
	uint32_t id;      /* in bits 27:24, as in the register */
	uint32_t select;
	uint32_t lines; /* the pins as they are now */
	uint32_t irr;   /* pins whose message has not been sent yet */
	uint32_t pad;
	uint64_t entry[IOAPIC_PINS];
};
_Static_assert(sizeof(struct ioapic) == 216, "the migration record depends on it");

void ioapic_init(struct ioapic *io);

/* offset is IOAPIC_SELECT, _WINDOW or _EOI; any other reads as 0. */
uint32_t ioapic_read(const struct ioapic *io, unsigned offset);
void ioapic_write(struct ioapic *io, unsigned offset, uint32_t value);

/* A rise of a masked pin that is edge triggered is lost (82093AA 3.2.4, "Interrupt Mask"). */
void ioapic_set(struct ioapic *io, unsigned pin, bool level);

/* What is to be sent next; false: nothing is. */
bool ioapic_next(struct ioapic *io, struct apic_message *m);

/* A CPU has ended a level-triggered interrupt: pins that are still asserted ask again. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);

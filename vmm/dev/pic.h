/*
 * The PC's pair of 8259A interrupt controllers as a plain state machine: no kernel calls, no
 * pointers in the state.
 *
 * 8259A = Intel 8259A Programmable Interrupt Controller, order no. 231468-003, December 1988.
 *
 * The slave's INT is wired to the master's IR2, whatever ICW1.SNGL and ICW3 say; vectors are the
 * 8086's, whatever ICW4.uPM says; there is no buffered mode. A line is edge or level triggered by
 * ICW1.LTIM for the whole chip, or by its bit in the chipset's ELCR (ports 0x4d0, 0x4d1).
 *
 * Ports are 8 bits wide. Wider accesses are the bus's to split: each byte goes to its own port.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PIC_VERSION    1
#define PIC_MASTER     0x20  /* and 0x21 */
#define PIC_SLAVE      0xa0  /* and 0xa1 */
#define PIC_ELCR       0x4d0 /* and 0x4d1 */
#define PIC_CASCADE    2
#define PIC_ELCR_MASK0 0xf8 /* IRQ 0, 1, 2 are always edges */
#define PIC_ELCR_MASK1 0xde /* so are IRQ 8 and 13 */

struct pic_chip {
	uint8_t lines; /* the inputs as they are now */
	uint8_t irr, isr, imr;
	uint8_t elcr;
	uint8_t base;     /* vector of IR0 */
	uint8_t lowest;   /* the IR with the lowest priority: 7 unless rotated */
	uint8_t icw_next; /* the ICW that the next write to the odd port is, 0: OCW1 */
	uint8_t icw1, icw3, icw4;
	uint8_t read_isr; /* OCW3.RIS */
	uint8_t poll;     /* the next read is a poll */
	uint8_t special_mask;
	uint8_t rotate_aeoi;
	uint8_t pad;
};

struct pic {
	uint32_t version;
	uint8_t noise; /* line 2 as pic_set_irq() set it */
	uint8_t pad[3];
	struct pic_chip chip[2]; /* master, slave */
};
_Static_assert(sizeof(struct pic_chip) == 16, "the migration record depends on it");
_Static_assert(sizeof(struct pic) == 40, "the migration record depends on it");

/*
 * Power-up leaves an 8259A undefined. Ours starts as a PC's firmware leaves it, vectors 0x08 and
 * 0x70, but with every line masked.
 */
void pic_init(struct pic *p);

/* port is one of 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1; any other reads as ones. */
uint8_t pic_read(struct pic *p, uint16_t port);
void pic_write(struct pic *p, uint16_t port, uint8_t value);

/*
 * Line 0-15 changes to `level`. A request whose line falls before it is acknowledged is withdrawn,
 * edge or level (8259A "Edge and Level Triggered Modes"). Line 2 is the cascade's wire: raising it
 * by hand is noise there, and gives a spurious IRQ 15.
 */
void pic_set_irq(struct pic *p, unsigned line, bool level);

/* The master's INT output. */
bool pic_pending(const struct pic *p);

/*
 * The two INTA cycles: the vector, 0-255. Where the request is gone by then, it is IR7's of the
 * chip that should have had it, and no ISR bit is set there.
 */
int pic_ack(struct pic *p);

/*
 * What an I/O APIC or a local APIC says on the bus: an interrupt for one CPU or several (SDM 3A
 * 11.6.1 "Interrupt Command Register (ICR)").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define APIC_FIRST_VECTOR 16 /* those below are no interrupt's: SDM 3A 11.5.2 */

enum apic_mode {
	APIC_FIXED,
	APIC_LOWEST,
	APIC_SMI,
	APIC_NMI = 4,
	APIC_INIT,
	APIC_STARTUP,
	APIC_EXTINT,
};

enum apic_shorthand { APIC_NAMED, APIC_SELF, APIC_ALL, APIC_OTHERS };

struct apic_message {
	uint8_t vector;
	uint8_t mode;         /* enum apic_mode */
	bool logical;         /* `destination` is a set of CPUs, else an APIC ID */
	bool level;           /* level triggered: its EOI goes to the I/O APIC */
	bool deassert;        /* of INIT: once it was the end of the signal, and means nothing */
	uint8_t shorthand;    /* enum apic_shorthand; APIC_NAMED: `destination` says who */
	uint32_t destination; /* of 8 bits, but for an x2APIC's */
};

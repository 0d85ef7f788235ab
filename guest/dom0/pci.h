/*
 * The machine's PCI bus, as Zeno lets dom0 have it (vmm/pv/bus/bus.h): configuration mechanism #1.
 *
 * PCI = PCI Local Bus Specification, revision 2.1.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Registers of a configuration space: PCI 6.1. */
#define PCI_ID      0x00u /* the vendor's below, the device's above */
#define PCI_COMMAND 0x04u
#define PCI_CLASS   0x08u /* the class and what of it is the upper half */
#define PCI_BASE(n) (0x10u + 4 * (n))
#define PCI_LINE    0x3cu

#define PCI_PORTS  1u /* PCI_COMMAND: it answers at its ports, in memory; it masters the bus */
#define PCI_MEMORY 2u
#define PCI_MASTER 4u

/* The first one of a class, with its subclass: its number. -1: there is none. */
int pci_find(uint16_t class);
uint32_t pci_read(int function, unsigned at);
void pci_command(int function, uint16_t bits);

/* The same of any port. */
static inline uint8_t
in8(unsigned port)
{
	uint8_t value;

	__asm__ volatile("inb %w1, %0" : "=a"(value) : "d"(port) : "memory");
	return value;
}

static inline uint32_t
in32(unsigned port)
{
	uint32_t value;

	__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(port) : "memory");
	return value;
}

static inline void
out8(unsigned port, uint8_t value)
{
	__asm__ volatile("outb %0, %w1" : : "a"(value), "d"(port) : "memory");
}

static inline void
out16(unsigned port, uint16_t value)
{
	__asm__ volatile("outw %0, %w1" : : "a"(value), "d"(port) : "memory");
}

static inline void
out32(unsigned port, uint32_t value)
{
	__asm__ volatile("outl %0, %w1" : : "a"(value), "d"(port) : "memory");
}

/* A line of the machine's interrupt controllers: its port; 0: it is not to be had. */
uint32_t line_bind(unsigned line, bool by_level);
void line_done(unsigned line);
void line_let_go(unsigned line, uint32_t port); /* it is another's, if it likes */

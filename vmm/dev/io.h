/*
 * A domain's buses: ports and memory-mapped registers, and who claims which (io.c).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <inc/addr.h>
#include <vmm/exit.h>

struct domain;
struct vcpu;

/*
 * A device's ports. An access comes as wide as it was made, but for one that is wider than the
 * device (`width`), not aligned, or over the range's end: that comes in parts, as on an ISA bus.
 */
struct io_range {
	uint16_t base, count; /* count 0 ends the table */
	uint8_t width;        /* bytes that it takes at once: 1, 2, 4 */
	const char *owner;
	uint32_t (*read)(struct domain *d, uint16_t port,
			 unsigned size); /* NULL: reads as unclaimed */
	void (*write)(struct domain *d, uint16_t port, unsigned size, uint32_t value);
};

/*
 * A device's registers in guest-physical memory, where the guest has no RAM. The access is as wide
 * as the instruction made it, 1 to 8 bytes, at any offset; v is the CPU that makes it, for each has
 * a local APIC of its own at the same address.
 */
struct mmio_range {
	uint64_t base, size; /* size 0 ends the table */
	const char *owner;
	uint64_t (*read)(struct vcpu *v, uint64_t offset, unsigned size);
	void (*write)(struct vcpu *v, uint64_t offset, unsigned size, uint64_t value);
};

/* size is 1, 2 or 4 bytes; ports wrap at 64 Ki. */
void io_unclaimed(const struct domain *d, char *buf,
		  size_t size); /* ports that nobody has, in words */
/* An access to a port of a range whose owner does not have it now. */
uint32_t io_nobody(struct domain *d, uint16_t port, unsigned size);
uint32_t io_read(struct domain *d, uint16_t port, unsigned size);
void io_write(struct domain *d, uint16_t port, unsigned size, uint32_t value);

/* size is 1 to 8 bytes, and value has no more. Unclaimed: ones, and writes go nowhere. */
uint64_t mmio_read(struct vcpu *v, gpa_t a, unsigned size);
void mmio_write(struct vcpu *v, gpa_t a, unsigned size, uint64_t value);

/*
 * An access of which not every byte is RAM's: `size` bytes from or to *buf, for any engine and MMU
 * mode; `how` says what is checked. 0, or -EFAULT as gva_to_gpa(), and nothing was done. Lab 5 does
 * it, by SET_ADD(device_memories, ...). A build without does up to eight bytes in one page; more
 * ends a kernel, and is a program's fault.
 */
bool mmio_is_meant(const struct vcpu *v, gva_t a, size_t size); /* by this exit, it seems */
int mmio_move(struct vcpu *v, gva_t a, unsigned how, void *buf, size_t size, bool store);

struct device_memory {
	/* Under nested paging: where the CPU has missed a frame is no RAM. */
	enum verdict (*violation)(struct vcpu *v, struct exit *e);
	int (*move)(struct vcpu *v, gva_t a, unsigned how, void *buf, size_t size, bool store);
};

/*
 * A domain's I/O ports: the table of who claims which (platform.c), and the bus (io.c).
 */
#pragma once

#include <stdint.h>

struct domain;

struct io_range {
	uint16_t base, count; /* count 0 ends the table */
	const char *owner;
	uint8_t (*read)(struct domain *d, uint16_t port); /* NULL: reads as unclaimed */
	void (*write)(struct domain *d, uint16_t port, uint8_t value);
};

extern const struct io_range io_ranges[];

/* Accesses wider than a byte go bytewise to consecutive ports, as on an ISA bus. */
uint32_t io_read(struct domain *d, uint16_t port, unsigned size);
void io_write(struct domain *d, uint16_t port, unsigned size, uint32_t value);

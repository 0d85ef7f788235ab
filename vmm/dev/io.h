/*
 * The table of a domain's I/O ports (platform.c).
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

/*
 * What the loader said, copied out of its memory: nothing points there once bootinfo_init() is
 * done, so only the modules' contents stay where the loader put them. (The list of modules is in
 * kern/kern.h.)
 */
#pragma once

#include <stdint.h>

#define MEMORY_RAM        1 /* the only type that is ours; the others are ACPI's numbers */
#define MEMORY_RANGES_MAX 64
#define MODULES_MAX       64

struct memory_range {
	uint64_t base, length; /* hpa, bytes; in the firmware's order, may overlap */
	uint32_t type;
};

extern struct memory_range memory_ranges[];
extern unsigned memory_range_count;
extern const char *boot_cmdline; /* "" if there is none */

/* Panics, in words, if there is nothing to work with: no multiboot loader, no memory map. */
void bootinfo_init(uint32_t magic, uint64_t info);

/*
 * What the ways of starting a classic guest share (load.c, coreboot.c).
 */
#pragma once

#include <vmm/domain.h>
#include <vmm/vcpu.h>

#define LOW_RAM_END 0x9fc00u /* above lies what firmware keeps for itself (firmware.c) */
#define HIGH_RAM    0x100000u

#define LOAD_STEP (1ul << 20) /* bytes that are copied between two preemption points */

/* gpa_write() of a whole part of an image (load.c). */
int load_bytes(struct domain *d, uint64_t at, const uint8_t *from, uint64_t size);
void firmware_data(struct domain *d); /* firmware.c */
void coreboot_table(struct domain *d);
void start_registers(struct cpu_state *s, uint16_t cs, uint16_t ds); /* load.c */
const char *load_find(const char *name); /* load.c: the loader of this name; NULL: none */
int linux_load(struct domain *d, const struct module *m, const char *words);

/* load.c: a multiboot 1 ELF32 image into guest RAM, registers as the specification's section 3.2 says. */
/* `loader` is multiboot, coreboot or linux; NULL: as boot= at the beginning of `words` says, else multiboot. */
int load_guest(struct domain *d, const struct module *m, const char *loader, const char *words);

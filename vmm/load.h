/*
 * What the ways of starting a classic guest share (load.c, coreboot.c).
 */
#pragma once

#include <vmm/domain.h>

#define LOW_RAM_END 0xa0000u
#define HIGH_RAM    0x100000u

void coreboot_table(struct domain *d);

/*
 * The device model's IDE disk (disk.c): vmm/dev/apic/ide.c, by its ports alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

void disk_init(void);
/* false: the port is none of the disk's, or there is no disk. */
bool disk_read(uint16_t port, unsigned size, uint32_t *value);
bool disk_write(uint16_t port, unsigned size, uint32_t value);

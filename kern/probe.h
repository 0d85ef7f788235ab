/*
 * Reading memory that may not be there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Reads 8 bytes of the host's memory at `va`. 0, or -EFAULT where nothing is mapped. Never faults.
 */
int kernel_read(uint64_t va, uint64_t *out);

/* True if all of these physical bytes are RAM, by the loader's memory map: then the direct map has
 * them. No bytes are in no RAM. */
bool ram_contains(uint64_t paddr, uint64_t bytes);

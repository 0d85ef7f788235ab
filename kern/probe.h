/*
 * Reading memory that may not be there.
 */
#pragma once

#include <stdint.h>

/* Reads 8 bytes of the host's memory at `va`. 0, or -EFAULT where nothing is mapped. Never faults.
 */
int kernel_read(uint64_t va, uint64_t *out);

/*
 * What is measured many times, in instructions: under QEMU's -icount the time stamp counter counts
 * them.
 */
#pragma once

#include <stdint.h>

static inline uint64_t
now(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* One more behind the `n` that there are, all in order. */
static inline void
sample(uint64_t *samples, unsigned n, uint64_t took)
{
	for (; n && samples[n - 1] > took; n--)
		samples[n] = samples[n - 1];
	samples[n] = took;
}

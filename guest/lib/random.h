/*
 * Chances of a seed's: each round has a series of its own, whatever was before it. The guest that
 * draws them defines `chances`.
 */
#pragma once

#include <stdint.h>

extern uint32_t chances;

static inline uint32_t
next(void)
{
	chances ^= chances << 13;
	chances ^= chances >> 17;
	chances ^= chances << 5;
	return chances;
}

static inline uint32_t
below(uint32_t n) /* 0 to n - 1 */
{
	return (next() >> 3) % n;
}

static inline void
seed_round(uint32_t seed, uint32_t round)
{
	chances = (seed * 2654435761u) ^ (round * 2246822519u + 374761393u);
	if (!chances)
		chances = 1;
	for (int i = 0; i < 6; i++)
		next();
}

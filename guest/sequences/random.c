/*
 * Chances: one series per sequence, whatever was before it.
 */
#include "sequences.h"

static uint32_t state;

uint32_t
next(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

uint32_t
below(uint32_t n)
{
	return (next() >> 3) % n;
}

uint32_t
one_of(const uint32_t *some, unsigned count)
{
	return some[below(count)];
}

void
seed_round(uint32_t seed, uint32_t round)
{
	state = (seed * 2654435761u) ^ (round * 2246822519u + 374761393u);
	if (!state)
		state = 1;
	for (int i = 0; i < 6; i++)
		next();
}

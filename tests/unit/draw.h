/*
 * What a unit test draws: numbers that look like chance, the same in each run (Marsaglia, "Xorshift
 * RNGs", 2003). A test that prints the seed it set begins there again.
 */
#pragma once

#include <stdint.h>

static uint64_t seed = 20261125;

/* Any 64 bits, all zeros apart. */
__attribute__((unused)) static uint64_t
drawn(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* 0 to below - 1; not of the lowest bits, which follow each other most closely. */
__attribute__((unused)) static uint64_t
draw(uint64_t below)
{
	return (drawn() >> 11) % below;
}

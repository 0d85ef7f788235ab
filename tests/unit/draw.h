/*
 * What a unit test draws: numbers that look like chance (Marsaglia, "Xorshift RNGs", 2003), the
 * same in each run of `make check`, and others in each of check-all, or with SEED=n. A test that
 * prints the seed it set begins there again.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t seed = 20261125;

__attribute__((constructor)) static void
seed_begins(void)
{
	const char *given = getenv("SEED");
	FILE *chance = fopen("/dev/urandom", "rb");
	uint32_t any = 0;

	if (chance) {
		fread(&any, sizeof(any), 1, chance);
		fclose(chance);
	}
	if (given && *given)
		any = (uint32_t)strtoul(given, NULL, 0);
	else if (!getenv("ZENO_ALL"))
		return;
	seed = any | 1ull << 40; /* not 0 */
	printf("# SEED=%u\n", any);
}

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

/*
 * Random instructions, the same ones for the same seed: every opcode map about evenly, with
 * prefixes that matter more often than chance would have them.
 */
#pragma once

#include <stdint.h>

#include <vmm/x86/insn.h>

struct rng {
	uint64_t state;
};

/* xorshift64*: small, and good enough to visit every opcode. */
__attribute__((unused)) static uint64_t
rng_next(struct rng *rng)
{
	rng->state ^= rng->state >> 12;
	rng->state ^= rng->state << 25;
	rng->state ^= rng->state >> 27;
	return rng->state * 0x2545f4914f6cdd1dull;
}

__attribute__((unused)) static unsigned
rng_below(struct rng *rng, unsigned n)
{
	return (rng_next(rng) >> 32) * n >> 32;
}

__attribute__((unused)) static unsigned
gen_prefixes(struct rng *rng, uint8_t *bytes, enum cpu_mode mode)
{
	static const uint8_t prefixes[] = { 0x66, 0x66, 0x66, 0x67, 0x67, 0xf2, 0xf3, 0xf3,
					    0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	unsigned n = 0, wanted = rng_below(rng, 8);

	wanted = wanted < 4 ? 0 : wanted < 7 ? 1 : 1 + rng_below(rng, 4);
	while (n < wanted)
		bytes[n++] = prefixes[rng_below(rng, sizeof(prefixes))];
	if (mode >= MODE64 && rng_below(rng, 5) < 2)
		bytes[n++] = 0x40 | rng_below(rng, 16);
	return n;
}

/* 15 bytes, of which the instruction is the first ones. */
__attribute__((unused)) static void
gen_insn(struct rng *rng, uint8_t bytes[16], enum cpu_mode mode)
{
	unsigned n = gen_prefixes(rng, bytes, mode), map = rng_below(rng, 100);

	for (unsigned i = n; i < 16; i++)
		bytes[i] = rng_next(rng) >> 56;
	if (map < 50 || n > 11) {
		return;
	} else if (map < 85) {
		bytes[n] = 0x0f;
	} else {
		bytes[n] = 0x0f;
		bytes[n + 1] = map < 93 ? 0x38 : 0x3a;
	}
}

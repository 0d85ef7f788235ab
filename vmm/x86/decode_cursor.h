/*
 * The bytes that the decoder has still before it, and what its two files of code share.
 */
#pragma once

#include <inc/errno.h>
#include <vmm/x86/insn.h>

/*
 * Bytes still to come. Once there are none, next() returns 0 for ever and `error` tells why;
 * whoever loops over it stops at 15. So no caller checks each byte, and decode() checks once.
 */
struct cursor {
	const uint8_t *bytes;
	size_t n;
	unsigned at;
	int error;
};

static inline uint8_t
next(struct cursor *c)
{
	if (c->error)
		return 0;
	if (c->at >= INSN_MAX_LEN)
		c->error = -E2BIG;
	else if (c->at >= c->n)
		c->error = -ENODATA;
	return c->error ? 0 : c->bytes[c->at++];
}

static inline uint8_t
peek(struct cursor *c)
{
	struct cursor ahead = *c;
	uint8_t byte = next(&ahead);

	c->error = ahead.error;
	return byte;
}

static inline uint64_t
next_little_endian(struct cursor *c, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)next(c) << (8 * i);
	return value;
}

static inline bool
long_mode(const struct insn *insn)
{
	return insn->mode >= MODE64;
}

/*
 * ModR/M, SIB, displacement. `registers`: mod is ignored, as mov to and from CR and DR do (SDM 2B
 * "MOV--Move to/from Control Registers": "the 2 bits in the mod field are ignored").
 */
void take_modrm(struct insn *insn, struct cursor *c, bool registers);

/* Fills one operand from its form (vmm/x86/decode_table.h); -EINVAL if there is no such operand. */
int take_operand(struct insn *insn, struct cursor *c, struct operand *opnd, uint8_t form);

/*
 * What Zeno knows of x87, MMX and SSE: nothing but how an instruction reaches its memory operand.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/te/rare/rare.h>

/* Whether it writes its memory operand (SDM 2D A.3, A.5). */
bool
te_vector_writes(const struct insn *i)
{
	static const uint8_t x87[8] = { [1] = 0xcc, [3] = 0x8e, [5] = 0xce, [7] = 0xce };
	unsigned reg = i->modrm >> 3 & 7;

	if (i->map == MAP_1BYTE) /* d8 to df, by reg: fst, fstp, fnstenv, fnsave, fnstcw ... */
		return x87[i->opcode & 7] >> reg & 1;
	switch (i->map == MAP_0F ? i->opcode : 0) {
	case 0x11:
	case 0x13:
	case 0x17:
	case 0x29:
	case 0x2b:
	case 0x7f:
	case 0xd6:
	case 0xe7:
	case 0xf7:
		return true;
	case 0x7e:
		return !(i->prefixes & PFX_REP);
	case 0xae: /* fxsave, stmxcsr, xsave, xsaveopt */
		return 0x59u >> reg & 1;
	default:
		return false;
	}
}

/* Mandatory prefixes (SDM 2A 2.1.2): none, 66, f3, f2. */
#define NP 1u
#define P6 2u
#define F3 4u
#define F2 8u

static unsigned
mandatory(const struct insn *i)
{
	if (i->prefixes & PFX_REPNE)
		return F2;
	return i->prefixes & PFX_REP ? F3 : i->prefixes & PFX_OSIZE ? P6 : NP;
}

/* The opcodes of map 0f with an operand of 128 bits, by prefix (SDM 2D table A-3). */
static unsigned
whole_in_0f(unsigned opcode)
{
	static const uint8_t some[256] = {
		[0x14] = NP | P6,      [0x15] = NP | P6,      [0x28] = NP | P6, [0x29] = NP | P6,
		[0x2b] = NP | P6,      [0x2c] = P6,           [0x2d] = P6,      [0x5a] = P6,
		[0x5b] = NP | P6 | F3, [0x70] = P6 | F3 | F2, [0x7c] = P6 | F2, [0x7d] = P6 | F2,
		[0xc2] = NP | P6,      [0xc6] = NP | P6,      [0xd0] = P6 | F2, [0xe6] = P6 | F2,
	};

	if (some[opcode])
		return some[opcode];
	if (opcode >= 0x51 && opcode <= 0x5f)
		return NP | P6;
	switch (opcode) {
	case 0x6e: /* movd, movq, the immediate shifts */
	case 0x71:
	case 0x72:
	case 0x73:
	case 0x7e:
	case 0xc4:
	case 0xd6:
	case 0xf7:
		return 0;
	default:
		return (opcode >= 0x60 && opcode <= 0x7f) || opcode > 0xd0 ? P6 : 0;
	}
}

/* Maps 0f38 and 0f3a: but pmovsx, pmovzx; and round of scalars, inserts and extracts, pcmpistrm. */
static unsigned
whole_in_others(enum insn_map map, unsigned opcode)
{
	if (map == MAP_0F38)
		return (opcode & 0xef) >= 0x20 && (opcode & 0xef) <= 0x25 ? 0 : P6;
	return (opcode >= 0x08 && opcode <= 0x0f && opcode != 0x0a && opcode != 0x0b) ||
			       (opcode >= 0x40 && opcode <= 0x44)
		       ? P6
		       : 0;
}

/*
 * What the address of its operand must be a multiple of: else #GP(0), before any page is looked at.
 * Operands of 128 bits, but for those moved by movups, movupd, movdqu and lddqu (SDM 3A table 6-7;
 * 1 10.4.1.1, 10.5.1).
 */
unsigned
te_vector_alignment(const struct insn *i)
{
	unsigned prefixes;

	switch (i->map) {
	case MAP_0F:
		if (i->opcode == 0xae) /* fxsave, fxrstor */
			return (i->modrm >> 3 & 7) < 2 ? 16 : 1;
		prefixes = whole_in_0f(i->opcode);
		break;
	case MAP_0F38:
	case MAP_0F3A:
		prefixes = whole_in_others(i->map, i->opcode);
		break;
	default:
		return 1;
	}
	return prefixes & mandatory(i) ? 16 : 1;
}

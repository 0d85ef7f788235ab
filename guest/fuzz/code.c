/*
 * Random code: whole instructions from a table of encodings with operands that mean something, and
 * bytes that mean whatever they mean.
 */
#include "fuzz.h"

enum operands {
	NONE,
	IMM8,
	IMM32,
	MODRM, /* register or memory */
	MODRM_IMM8,
	MODRM_IMM32,
	MOFFS, /* an address without ModRM */
	FAR,   /* an address of the code's and a selector */
	REL8,
	SELECTOR, /* mov eax, a selector, and then the instruction */
	PUSHED,   /* push a frame of iret's, and then the instruction */
};

struct form {
	uint8_t operands, length, bytes[3];
};

/* clang-format off */
static const struct form forms[] = {
	/* tables and control registers */
	{ MODRM, 2, { 0x0f, 0x01 } }, { MODRM, 2, { 0x0f, 0x00 } }, { MODRM, 2, { 0x0f, 0x20 } },
	{ MODRM, 2, { 0x0f, 0x21 } }, { MODRM, 2, { 0x0f, 0x22 } }, { MODRM, 2, { 0x0f, 0x23 } },
	{ NONE, 2, { 0x0f, 0x06 } }, { NONE, 2, { 0x0f, 0x08 } }, { NONE, 2, { 0x0f, 0x09 } },
	{ NONE, 2, { 0x0f, 0x30 } }, { NONE, 2, { 0x0f, 0x32 } }, { NONE, 2, { 0x0f, 0x31 } },
	{ NONE, 2, { 0x0f, 0xa2 } }, { MODRM, 2, { 0x0f, 0x02 } }, { MODRM, 2, { 0x0f, 0x03 } },
	{ NONE, 2, { 0x0f, 0x05 } }, { NONE, 2, { 0x0f, 0x34 } }, { NONE, 2, { 0x0f, 0x35 } },
	{ NONE, 2, { 0x0f, 0x0b } }, { MODRM, 1, { 0x63 } },
	/* flags, interrupts, ways out */
	{ NONE, 1, { 0xfa } }, { NONE, 1, { 0xfb } }, { NONE, 1, { 0x9c } }, { NONE, 1, { 0x9d } },
	{ NONE, 1, { 0xf4 } }, { IMM8, 1, { 0xcd } }, { NONE, 1, { 0xce } }, { NONE, 1, { 0xf1 } },
	{ PUSHED, 1, { 0xcf } }, { PUSHED, 1, { 0xcf } }, { PUSHED, 1, { 0xcb } }, { NONE, 1, { 0xcf } },
	{ NONE, 1, { 0xc3 } }, { IMM8, 1, { 0xeb } }, { REL8, 1, { 0x74 } }, { REL8, 1, { 0xe2 } },
	{ REL8, 1, { 0xe3 } }, { REL8, 1, { 0xeb } }, { FAR, 1, { 0xea } }, { FAR, 1, { 0x9a } },
	{ MODRM, 1, { 0xff } }, { MODRM, 1, { 0xff } }, { MODRM, 1, { 0xfe } },
	{ NONE, 1, { 0xc9 } }, { NONE, 1, { 0x9b } },
	/* segments */
	{ SELECTOR, 2, { 0x8e, 0xc0 } }, { SELECTOR, 2, { 0x8e, 0xd0 } }, { SELECTOR, 2, { 0x8e, 0xd8 } },
	{ SELECTOR, 2, { 0x8e, 0xe0 } }, { SELECTOR, 2, { 0x8e, 0xe8 } }, { SELECTOR, 2, { 0x50, 0x1f } },
	{ SELECTOR, 2, { 0x50, 0x17 } }, { MODRM, 1, { 0x8e } }, { MODRM, 1, { 0x8c } },
	{ MODRM, 1, { 0xc4 } }, { MODRM, 1, { 0xc5 } }, { MODRM, 2, { 0x0f, 0xb2 } },
	{ MODRM, 2, { 0x0f, 0xb4 } }, { NONE, 1, { 0x1e } }, { NONE, 1, { 0x07 } }, { NONE, 1, { 0x17 } },
	/* ports */
	{ IMM8, 1, { 0xe4 } }, { NONE, 1, { 0xec } }, { NONE, 1, { 0xef } }, { NONE, 1, { 0x6c } },
	{ NONE, 1, { 0x6e } }, { NONE, 1, { 0x6f } },
	/* memory */
	{ MODRM, 1, { 0x01 } }, { MODRM, 1, { 0x03 } }, { MODRM, 1, { 0x87 } }, { MODRM, 1, { 0x88 } },
	{ MODRM, 1, { 0x89 } }, { MODRM, 1, { 0x8b } }, { MODRM, 1, { 0x8a } }, { MODRM, 1, { 0x31 } },
	{ MODRM, 1, { 0x39 } }, { MODRM, 1, { 0x8f } }, { MODRM_IMM8, 1, { 0x80 } },
	{ MODRM_IMM32, 1, { 0x81 } }, { MODRM_IMM8, 1, { 0xc6 } }, { MODRM_IMM32, 1, { 0xc7 } },
	{ MODRM, 1, { 0xf7 } }, { MODRM, 1, { 0xd1 } }, { MODRM, 2, { 0x0f, 0xb1 } },
	{ MODRM, 2, { 0x0f, 0xc1 } }, { MODRM, 2, { 0x0f, 0xc7 } }, { MODRM, 2, { 0x0f, 0xab } },
	{ MODRM_IMM8, 2, { 0x0f, 0xba } }, { MODRM, 2, { 0x0f, 0xae } }, { MODRM, 1, { 0xd9 } },
	{ MODRM, 1, { 0xdd } }, { MODRM, 2, { 0x0f, 0x28 } }, { MODRM, 2, { 0x0f, 0x6f } },
	{ MODRM, 2, { 0x0f, 0xf7 } }, { MOFFS, 1, { 0xa1 } }, { MOFFS, 1, { 0xa3 } },
	{ NONE, 1, { 0xa4 } }, { NONE, 1, { 0xa5 } }, { NONE, 1, { 0xab } }, { NONE, 1, { 0xac } },
	{ NONE, 1, { 0xa6 } }, { NONE, 1, { 0xaf } }, { NONE, 1, { 0x60 } }, { NONE, 1, { 0x61 } },
	{ NONE, 1, { 0xd7 } }, { MODRM, 1, { 0x62 } }, { MODRM, 1, { 0x8d } },
	{ IMM32, 1, { 0x68 } }, { NONE, 1, { 0x58 } }, { IMM8, 1, { 0x6a } },
	/* registers */
	{ IMM32, 1, { 0xb8 } }, { IMM32, 1, { 0xb9 } }, { IMM32, 1, { 0xba } }, { IMM32, 1, { 0xbb } },
	{ IMM32, 1, { 0xbe } }, { IMM32, 1, { 0xbf } }, { IMM32, 1, { 0xbd } }, { NONE, 1, { 0x90 } },
	{ NONE, 1, { 0xfd } }, { NONE, 1, { 0xfc } },
};
/* clang-format on */

static const uint8_t prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26,
				    0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf3 };

uint32_t flags_left_out; /* of those that an iret gets */

static uint8_t *at;

static void
byte(uint32_t b)
{
	*at++ = (uint8_t)b;
}

static void
word(uint32_t w)
{
	for (int i = 0; i < 4; i++)
		byte(w >> 8 * i);
}

static uint32_t
here(void)
{
	return (uint32_t)at + below(64) - 24;
}

static void
modrm(void)
{
	uint32_t reg = below(8) << 3;

	switch (below(4)) {
	case 0: /* a register, or memory that one points to */
		byte(next());
		if (at[-1] >> 6 == 1)
			byte(next());
		break;
	case 1:
		byte(0xc0 | reg | below(8));
		break;
	default:
		byte(reg | 5);
		word(address());
	}
}

static void
opcode(const struct form *f)
{
	for (unsigned i = 0; i < f->length; i++)
		byte(f->bytes[i]);
}

/* What comes before the opcode. */
static void
prepare(const struct form *f)
{
	uint32_t flags = next() & (below(2) ? 0x247fd7 : 0xffffffff) & ~flags_left_out;

	if (f->operands == SELECTOR) {
		byte(0xb8);
		word(selector());
	} else if (f->operands == PUSHED) {
		byte(0x68), word(below(2) ? UDATA : selector());
		byte(0x68), word(STACK + 0x400 + below(0x400));
		byte(0x68), word(flags);
		byte(0x68), word(below(2) ? KCODE : selector());
		byte(0x68), word(here());
	}
	while (!below(6))
		byte(prefixes[below(sizeof(prefixes))]);
}

static void
instruction(void)
{
	const struct form *f = &forms[below(sizeof(forms) / sizeof(forms[0]))];

	prepare(f);
	opcode(f);
	if (f->operands == MODRM || f->operands == MODRM_IMM8 || f->operands == MODRM_IMM32)
		modrm();
	if (f->operands == IMM8 || f->operands == MODRM_IMM8 || f->operands == REL8)
		byte(f->operands == REL8 ? below(32) - 16 : next());
	else if (f->operands == IMM32 || f->operands == MODRM_IMM32)
		word(number());
	else if (f->operands == MOFFS)
		word(address());
	else if (f->operands == FAR)
		word(here()), byte(selector()), byte(at[-1] >> 3 == 0x1c ? 0xe0 : 0);
}

/*
 * Fills the code's pages from `from` on with about this many instructions; behind them int3 and no
 * end of it.
 */
static void
sequence(uint32_t from, unsigned count)
{
	for (uint32_t i = 0; i < 64; i++)
		((volatile uint32_t *)from)[i] = 0xcccccccc;
	at = (uint8_t *)from;
	while (count-- && (uint32_t)at < from + 200)
		if (below(4))
			instruction();
		else
			for (unsigned n = 1 + below(6); n; n--)
				byte(below(3) ? next() : 0x0f);
}

/*
 * LOCK before bts, btr or btc of a register: QEMU does something at whatever address it made last,
 * in place of #UD, or ends itself (handouts/emulators.md#lock). At most three prefixes between them
 * are looked behind.
 */
static void
spare_emulator(void)
{
	for (uint8_t *p = (uint8_t *)CODE; p < (uint8_t *)PLAY - 5; p++)
		for (unsigned i = 1; *p == 0xf0 && i < 5; i++)
			if (p[i] == 0x0f &&
			    (p[i + 1] == 0xab || p[i + 1] == 0xb3 || (p[i + 1] & 0xfe) == 0xba))
				*p = 0x90;
}

void
make_code(void)
{
	sequence(CODE + 0x100, 1 + below(10));
	if (!below(4))
		sequence(CODE + 0x1000 - below(32),
			 1 + below(4)); /* over the boundary of two pages */
	spare_emulator();
}

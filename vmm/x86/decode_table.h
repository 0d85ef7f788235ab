/*
 * How vmm/x86/decode_table.c writes down the opcode maps. For the decoder's two files only.
 *
 * An operand is a *form* in the manual's own notation (SDM 2D A.2.1 "Codes for Addressing Method"
 * and A.2.2 "Codes for Operand Type"): a capital letter for where it is, a small one for how wide
 * it is.
 */
#pragma once

#include <stdint.h>

#include <vmm/x86/insn.h>

/* Widths: bits 2:0 of a form. */
enum width {
	W0, /* none, or settled by the instruction */
	Wb, /* byte */
	Ww, /* word */
	Wd, /* doubleword */
	Wv, /* operand size */
	Wz, /* operand size, at most a doubleword */
	Wy, /* doubleword, quadword with REX.W */
	Wn, /* native: doubleword, quadword in 64-bit mode */
};

/* Addressing methods: bits 7:3 of a form. From METHOD_E to METHOD_DR they need a ModR/M byte. */
enum method {
	METHOD_NONE,
	METHOD_Z, /* register in the opcode's low three bits */
	METHOD_A, /* al, ax, eax, rax */
	METHOD_CL,
	METHOD_DX,
	METHOD_ONE,
	METHOD_I,  /* immediate, zero-extended bytes and words, sign-extended doublewords */
	METHOD_SI, /* immediate byte, sign-extended */
	METHOD_I2, /* second immediate */
	METHOD_AP, /* far pointer: offset, then selector */
	METHOD_J,  /* branch displacement */
	METHOD_O,  /* address without ModR/M */
	METHOD_X,  /* ds:rSI */
	METHOD_Y,  /* es:rDI */
	METHOD_BX, /* ds:rBX + al (xlat) */
	METHOD_DI, /* ds:rDI (maskmovq) */
	METHOD_FS, /* segment register in the opcode's bits 5:3 */
	METHOD_E,  /* ModR/M: register or memory */
	METHOD_V,  /* as E, but in memory always a word */
	METHOD_M,  /* memory; a register is #UD */
	METHOD_U,  /* register; memory is #UD */
	METHOD_R,  /* register, whatever mod says (SDM 2B "MOV--Move to/from Control Registers") */
	METHOD_G,  /* the reg field's general register */
	METHOD_S,  /* ... segment register */
	METHOD_CR,
	METHOD_DR,
};

#define FORM(method, width) ((method) << 3 | (width))

static inline unsigned
method_of(uint8_t form)
{
	return form >> 3;
}

enum form {
	Zb = FORM(METHOD_Z, Wb),
	Zv = FORM(METHOD_Z, Wv),
	AL = FORM(METHOD_A, Wb),
	rAX = FORM(METHOD_A, Wv),
	eAX = FORM(METHOD_A, Wz),
	CL = FORM(METHOD_CL, Wb),
	DX = FORM(METHOD_DX, Ww),
	ONE = FORM(METHOD_ONE, Wb),
	Ib = FORM(METHOD_I, Wb),
	Iw = FORM(METHOD_I, Ww),
	Iz = FORM(METHOD_I, Wz),
	Iv = FORM(METHOD_I, Wv),
	sIb = FORM(METHOD_SI, Wb),
	I2b = FORM(METHOD_I2, Wb),
	Ap = FORM(METHOD_AP, Wz),
	Jb = FORM(METHOD_J, Wb),
	Jz = FORM(METHOD_J, Wz),
	Ob = FORM(METHOD_O, Wb),
	Ov = FORM(METHOD_O, Wv),
	Xb = FORM(METHOD_X, Wb),
	Xv = FORM(METHOD_X, Wv),
	Xz = FORM(METHOD_X, Wz),
	Yb = FORM(METHOD_Y, Wb),
	Yv = FORM(METHOD_Y, Wv),
	Yz = FORM(METHOD_Y, Wz),
	BXAL = FORM(METHOD_BX, Wb),
	DI = FORM(METHOD_DI, W0),
	FSEG = FORM(METHOD_FS, Ww),
	E = FORM(METHOD_E, W0), /* register of another kind than general */
	Eb = FORM(METHOD_E, Wb),
	Ew = FORM(METHOD_E, Ww),
	Ez = FORM(METHOD_E, Wz),
	Ev = FORM(METHOD_E, Wv),
	Ey = FORM(METHOD_E, Wy),
	En = FORM(METHOD_E, Wn),
	Vw = FORM(METHOD_V, Wv),
	M = FORM(METHOD_M, W0),
	Mv = FORM(METHOD_M, Wv),
	My = FORM(METHOD_M, Wy),
	U = FORM(METHOD_U, W0),
	Uy = FORM(METHOD_U, Wy),
	Un = FORM(METHOD_U, Wn),
	Rn = FORM(METHOD_R, Wn),
	Gb = FORM(METHOD_G, Wb),
	Gw = FORM(METHOD_G, Ww),
	Gv = FORM(METHOD_G, Wv),
	Gy = FORM(METHOD_G, Wy),
	Gn = FORM(METHOD_G, Wn),
	Sw = FORM(METHOD_S, Ww),
	Cn = FORM(METHOD_CR, Wn),
	Dn = FORM(METHOD_DR, Wn),
};

/* Attributes of an opcode. */
#define LOCK   0x01  /* lock is allowed if the destination is memory (SDM 2A "LOCK") */
#define D64    0x02  /* 64-bit mode: operand size 8, or 2 with the prefix: the stack */
#define F64    0x04  /* 64-bit mode: operand size 8: near branches (see MODE64_AMD) */
#define O64    0x08  /* 64-bit mode: operand size 8, whatever the prefixes: descriptor tables */
#define NO64   0x10  /* #UD in 64-bit mode */
#define ONLY64 0x20  /* #UD elsewhere */
#define CC     0x40  /* the opcode's low four bits are a condition */
#define GRP    0x80  /* `op` is an enum group: ModR/M tells which instruction */
#define PFX    0x100 /* look into `prefixed` first: f3, f2 or 66 select another instruction */

struct opcode {
	uint16_t op; /* enum insn_op; INSN_NONE: undefined */
	uint16_t attr;
	uint8_t form[INSN_OPERANDS]; /* enum form, destination first */
};

enum group {
	GRP1,
	GRP1A,
	GRP2,
	GRP3B,
	GRP3V,
	GRP4,
	GRP5,
	GRP6,
	GRP7,
	GRP8,
	GRP9,
	GRP9_F3,
	GRP11B,
	GRP11V,
	GRP15,
	GRP15_F3,
	GRP15_66,
	GRP_COUNT,
};

/* The reg field selects; where mod is 3 from another table. A member without forms has its
 * opcode's. */
struct group_table {
	const struct opcode *mem, *reg;
	uint8_t reg_mask; /* 7: by the reg field; 0x3f: by reg and rm */
};

struct prefixed {
	uint8_t map, opcode, prefix; /* PFX_REP, PFX_REPNE or PFX_OSIZE */
	struct opcode entry;
};

extern const struct opcode map_1byte[256], map_0f[256], map_0f38_high[16];
extern const struct group_table group_tables[GRP_COUNT];
extern const struct prefixed prefixed[];
extern const unsigned prefixed_count;

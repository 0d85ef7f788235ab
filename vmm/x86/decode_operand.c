/*
 * The operands of an instruction: memory as ModR/M and SIB tell it, registers, immediates.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <vmm/x86/decode_cursor.h>
#include <vmm/x86/decode_table.h>

static uint64_t
sign_extend(uint64_t value, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return size ? (uint64_t)((int64_t)(value << shift) >> shift) : 0;
}

/* 16-bit addressing: [base + index] by rm (SDM 2A table 2-1). */
static const struct {
	uint8_t base, index;
} address16[8] = {
	{ RBX, RSI },      { RBX, RDI },      { RBP, RSI },      { RBP, RDI },
	{ RSI, REG_NONE }, { RDI, REG_NONE }, { RBP, REG_NONE }, { RBX, REG_NONE },
};

static void
take_memory16(struct insn *insn)
{
	insn->mem_base = address16[insn->modrm & 7].base;
	insn->mem_index = address16[insn->modrm & 7].index;
	insn->disp_size = insn->mod;
	if (insn->mod == 0 && (insn->modrm & 7) == 6) {
		insn->mem_base = REG_NONE;
		insn->disp_size = 2;
	}
}

static void
take_sib(struct insn *insn, struct cursor *c)
{
	uint8_t sib = next(c);
	uint8_t index = ((sib >> 3) & 7) | (insn->rex & REX_X ? 8 : 0);

	insn->sib = sib;
	insn->mem_scale = 1 << (sib >> 6);
	insn->mem_index = index == RSP ? REG_NONE : index;
	insn->mem_base = (sib & 7) | (insn->rex & REX_B ? 8 : 0);
	if (insn->mod == 0 && (sib & 7) == RBP) {
		insn->mem_base = REG_NONE;
		insn->disp_size = 4;
	}
}

/* 32 and 64-bit addressing (SDM 2A tables 2-2, 2-3; rip-relative: 2.2.1.6). */
static void
take_memory32(struct insn *insn, struct cursor *c)
{
	insn->disp_size = insn->mod == 2 ? 4 : insn->mod;
	insn->mem_base = insn->rm;
	if ((insn->modrm & 7) == RSP) {
		take_sib(insn, c);
	} else if (insn->mod == 0 && (insn->modrm & 7) == RBP) {
		insn->mem_base = long_mode(insn) ? BASE_RIP : REG_NONE;
		insn->disp_size = 4;
	}
}

static void
take_displacement(struct insn *insn, struct cursor *c)
{
	insn->disp_at = c->at;
	insn->disp = sign_extend(next_little_endian(c, insn->disp_size), insn->disp_size);
}

/* Memory without an override is in ss if its base is rSP or rBP, else in ds (SDM 1 table 3-5). */
static void
set_memory(struct insn *insn)
{
	bool stack = insn->mem_base == RSP || insn->mem_base == RBP;

	insn->has_mem = true;
	insn->mem_seg = stack ? SEG_SS : SEG_DS;
	if (insn->seg_override != SEG_NONE)
		insn->mem_seg = insn->seg_override;
}

static void
read_modrm(struct insn *insn, uint8_t modrm)
{
	insn->has_modrm = true;
	insn->modrm = modrm;
	insn->mod = modrm >> 6;
	insn->reg = ((modrm >> 3) & 7) | (insn->rex & REX_R ? 8 : 0);
	insn->rm = (modrm & 7) | (insn->rex & REX_B ? 8 : 0);
}

void
take_modrm(struct insn *insn, struct cursor *c, bool registers)
{
	read_modrm(insn, next(c));
	if (insn->mod == 3 || registers)
		return;
	if (insn->addrsize == 2)
		take_memory16(insn);
	else
		take_memory32(insn, c);
	set_memory(insn);
	take_displacement(insn, c);
}

static unsigned
width_of(const struct insn *insn, uint8_t form)
{
	switch ((enum width)(form & 7)) {
	case W0:
		return 0;
	case Wb:
		return 1;
	case Ww:
		return 2;
	case Wd:
		return 4;
	case Wv:
		return insn->opsize;
	case Wz:
		return insn->opsize == 2 ? 2 : 4;
	case Wy:
		return insn->rex & REX_W ? 8 : 4;
	case Wn:
		return long_mode(insn) ? 8 : 4;
	}
	return 0;
}

/* Without REX, byte registers 4..7 are ah ch dh bh (SDM 1 3.4.1.1). */
static void
set_register(const struct insn *insn, struct operand *opnd, unsigned reg)
{
	bool high = opnd->size == 1 && !insn->rex && reg >= 4;

	opnd->kind = high ? OPND_HIGH : OPND_REG;
	opnd->reg = high ? reg - 4 : reg;
}

static int
set_rm(const struct insn *insn, struct operand *opnd, unsigned method)
{
	if (insn->mod != 3 && method != METHOD_R) {
		if (method == METHOD_U)
			return -EINVAL;
		opnd->kind = OPND_MEM;
		if (method == METHOD_V)
			opnd->size = 2;
	} else {
		if (method == METHOD_M)
			return -EINVAL;
		if (opnd->size)
			set_register(insn, opnd, insn->rm);
	}
	return 0;
}

/* cs can't be loaded by mov; there are six segment registers (SDM 2B "MOV"). */
static int
set_segment(const struct insn *insn, struct operand *opnd)
{
	opnd->kind = OPND_SEG;
	opnd->reg = (insn->modrm >> 3) & 7;
	if (opnd->reg >= SEG_COUNT || (insn->op == INSN_MOV_TO_SEG && opnd->reg == SEG_CS))
		return -EINVAL;
	return 0;
}

/* CR0, 2, 3, 4, 8 exist; DR0..7 (SDM 2B "MOV--Move to/from Control Registers"). */
static int
set_system_register(const struct insn *insn, struct operand *opnd, unsigned method)
{
	opnd->kind = method == METHOD_CR ? OPND_CR : OPND_DR;
	opnd->reg = insn->reg;
	if (method == METHOD_DR)
		return insn->reg < 8 ? 0 : -EINVAL;
	return insn->reg < 16 && ((1u << insn->reg) & 0x11d) ? 0 : -EINVAL;
}

static void
take_immediate(struct insn *insn, struct cursor *c, struct operand *opnd, unsigned method)
{
	unsigned size = opnd->size;

	insn->imm_at = c->at;
	insn->imm_size = size;
	insn->imm = next_little_endian(c, size);
	opnd->kind = OPND_IMM;
	if (method == METHOD_AP) {
		insn->imm2 = next_little_endian(c, 2);
		insn->imm2_size = 2;
		return;
	}
	if (method == METHOD_J)
		opnd->kind = OPND_REL;
	if (method != METHOD_I || size == 4)
		insn->imm = sign_extend(insn->imm, size);
	/* A doubleword is extended to the operand size with the rest (SDM 1 3.6.1). */
	if (method != METHOD_I || size == 4)
		opnd->size = insn->opsize;
}

static void
take_second_immediate(struct insn *insn, struct cursor *c, struct operand *opnd)
{
	opnd->kind = OPND_IMM2;
	insn->imm2_size = opnd->size;
	insn->imm2 = next_little_endian(c, opnd->size);
}

static void
set_implied_memory(struct insn *insn, struct operand *opnd, unsigned base)
{
	opnd->kind = OPND_MEM;
	insn->mem_base = base;
	set_memory(insn);
}

static void
take_offset(struct insn *insn, struct cursor *c, struct operand *opnd)
{
	set_implied_memory(insn, opnd, REG_NONE);
	insn->disp_size = insn->addrsize;
	insn->disp_at = c->at;
	insn->disp = next_little_endian(c, insn->addrsize);
}

/* A register that the opcode names, by itself or in its low three bits. */
static unsigned
implied_register(const struct insn *insn, unsigned method)
{
	switch (method) {
	case METHOD_A:
		return RAX;
	case METHOD_CL:
		return RCX;
	case METHOD_DX:
		return RDX;
	default:
		return (insn->opcode & 7) | (insn->rex & REX_B ? 8 : 0);
	}
}

int
take_operand(struct insn *insn, struct cursor *c, struct operand *opnd, uint8_t form)
{
	unsigned method = method_of(form);

	opnd->size = width_of(insn, form);
	switch ((enum method)method) {
	case METHOD_NONE:
		break;
	case METHOD_Z:
	case METHOD_A:
	case METHOD_CL:
	case METHOD_DX:
		set_register(insn, opnd, implied_register(insn, method));
		break;
	case METHOD_ONE:
		opnd->kind = OPND_ONE;
		break;
	case METHOD_I:
	case METHOD_SI:
	case METHOD_AP:
	case METHOD_J:
		take_immediate(insn, c, opnd, method);
		break;
	case METHOD_I2:
		take_second_immediate(insn, c, opnd);
		break;
	case METHOD_O:
		take_offset(insn, c, opnd);
		break;
	case METHOD_X:
	case METHOD_BX:
	case METHOD_DI:
		set_implied_memory(insn, opnd,
				   method == METHOD_X    ? RSI
				   : method == METHOD_BX ? RBX
							 : RDI);
		break;
	case METHOD_Y:
		opnd->kind = OPND_ES_DI;
		break;
	case METHOD_FS:
		opnd->kind = OPND_SEG;
		opnd->reg = (insn->opcode >> 3) & 7;
		break;
	case METHOD_E:
	case METHOD_V:
	case METHOD_M:
	case METHOD_U:
	case METHOD_R:
		return set_rm(insn, opnd, method);
	case METHOD_G:
		set_register(insn, opnd, insn->reg);
		break;
	case METHOD_S:
		return set_segment(insn, opnd);
	case METHOD_CR:
	case METHOD_DR:
		return set_system_register(insn, opnd, method);
	}
	return 0;
}

/*
 * Decimal arithmetic: daa das aaa aas aam aad. 16 and 32-bit code only.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023: volume 2A, each instruction's "Operation"
 * section.
 */
#include <vmm/x86/emulate_private.h>

/* daa and das differ in the sign of their two corrections. */
enum emu_result
emu_daa(struct emu *e)
{
	bool das = e->insn->op == INSN_DAS;
	uint64_t flags = e->state->rflags;
	uint8_t old = gpr_read(e->state, RAX, 1), al = old;
	bool carry = flags & FLAG_CF, old_carry = carry;
	bool low = (old & 15) > 9 || (flags & FLAG_AF);
	bool high = old > 0x99 || old_carry;

	if (low) {
		carry = old_carry || (das ? old < 6 : old > 0xff - 6);
		al += das ? -6 : 6;
	} else {
		carry = false;
	}
	if (high) {
		al += das ? -0x60 : 0x60;
		carry = true;
	} else if (!das) {
		carry = false;
	}
	gpr_write(e->state, RAX, 1, al);
	flags = set_flag(flags, FLAG_AF, low);
	flags = set_flag(flags, FLAG_CF, carry);
	e->state->rflags = flags_szp(flags, al, 1);
	return EMU_OK;
}

enum emu_result
emu_aaa(struct emu *e)
{
	bool aas = e->insn->op == INSN_AAS;
	uint64_t flags = e->state->rflags;
	uint16_t ax = gpr_read(e->state, RAX, 2);
	bool adjust = (ax & 15) > 9 || (flags & FLAG_AF);

	if (adjust)
		ax += aas ? -0x106 : 0x106;
	ax &= 0xff0f;
	gpr_write(e->state, RAX, 2, ax);
	flags = set_flag(flags, FLAG_CF | FLAG_AF, adjust);
	e->state->rflags = flags_szp(flags, ax, 1);
	return EMU_OK;
}

enum emu_result
emu_aam(struct emu *e)
{
	uint8_t al = gpr_read(e->state, RAX, 1), base = e->insn->imm;

	if (!base)
		return raise_fault(e, VEC_DE);
	gpr_write(e->state, RAX, 2, (al / base) << 8 | al % base);
	e->state->rflags = flags_szp(e->state->rflags, al % base, 1);
	return EMU_OK;
}

enum emu_result
emu_aad(struct emu *e)
{
	uint16_t ax = gpr_read(e->state, RAX, 2);
	uint8_t al = ax + (ax >> 8) * e->insn->imm;

	gpr_write(e->state, RAX, 2, al);
	e->state->rflags = flags_szp(e->state->rflags, al, 1);
	return EMU_OK;
}

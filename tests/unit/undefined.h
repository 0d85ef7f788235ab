/*
 * What the manual leaves undefined behind an instruction: it is not compared.
 */
#pragma once

#include <vmm/x86/insn.h>
#include <vmm/x86/state.h>

/* The flags that the SDM leaves undefined after this instruction, for these operands. */
static uint64_t
undefined_flags(const struct insn *insn, const struct cpu_state *before)
{
	const uint64_t szap = FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF, all = szap | FLAG_OF | FLAG_CF;
	unsigned size = insn->opnd[0].size, count = 0;

	if (insn->opnd[1].kind == OPND_REG)
		count = before->gpr[RCX];
	else
		count = insn->opnd[1].kind == OPND_ONE ? 1 : insn->imm;
	if (insn->op == INSN_SHLD || insn->op == INSN_SHRD)
		count = insn->opnd[2].kind == OPND_REG ? before->gpr[RCX] : insn->imm;
	count &= size == 8 ? 63 : 31;
	switch (insn->op) {
	case INSN_AND:
	case INSN_OR:
	case INSN_XOR:
	case INSN_TEST:
		return FLAG_AF;
	case INSN_ROL:
	case INSN_ROR:
	case INSN_RCL:
	case INSN_RCR:
		return count == 1 ? 0 : count ? FLAG_OF : 0;
	case INSN_SHL:
	case INSN_SHR:
	case INSN_SAR:
		if (count >= 8 * size && insn->op != INSN_SAR)
			return FLAG_AF | FLAG_OF | FLAG_CF;
		return count == 0 ? 0 : count == 1 ? FLAG_AF : FLAG_AF | FLAG_OF;
	case INSN_SHLD:
	case INSN_SHRD:
		if (count > 8 * size)
			return all;
		return count == 0 ? 0 : count == 1 ? FLAG_AF : FLAG_AF | FLAG_OF;
	case INSN_MUL:
	case INSN_IMUL:
	case INSN_IMUL2:
		return szap;
	case INSN_DIV:
	case INSN_IDIV:
		return all;
	case INSN_BT:
	case INSN_BTS:
	case INSN_BTR:
	case INSN_BTC:
		return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
	case INSN_BSF:
	case INSN_BSR:
		return all & ~(uint64_t)FLAG_ZF;
	case INSN_TZCNT:
	case INSN_LZCNT:
		return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
	case INSN_DAA:
	case INSN_DAS:
		return FLAG_OF;
	case INSN_AAA:
	case INSN_AAS:
		return FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF;
	case INSN_AAM:
	case INSN_AAD:
		return FLAG_OF | FLAG_AF | FLAG_CF;
	default:
		return 0;
	}
}

/*
 * Results, not flags alone, that the manual leaves undefined: shld, shrd of a word by more than 16,
 * bswap of a word. loope, loopne with f2 or f3 are "reserved" (SDM 2A 2.1.1): AMD's CPUs let the
 * prefix decide, as in a string instruction, which of the two it is. The emulator does with bits
 * 63:32 what AMD's CPUs do where bsf, bsr, cmpxchg do not write a 32-bit destination; others may
 * clear them.
 */
static bool
undefined_result(const struct insn *insn, const struct cpu_state *before,
		 const struct cpu_state *after)
{
	unsigned count = insn->opnd[2].kind == OPND_REG ? before->gpr[RCX] : insn->imm;
	bool unwritten = insn->mode == MODE64 && insn->opnd[0].size == 4; /* not MODE64_AMD */

	switch (insn->op) {
	case INSN_SHLD:
	case INSN_SHRD:
		return insn->opnd[0].size == 2 && (count & 31) > 16;
	case INSN_LOOPE:
	case INSN_LOOPNE:
		return insn->prefixes & (PFX_REP | PFX_REPNE);
	case INSN_BSWAP:
		return insn->opsize == 2;
	case INSN_BSF:
	case INSN_BSR:
		return unwritten && (after->rflags & FLAG_ZF);
	case INSN_CMPXCHG:
		return unwritten && !(after->rflags & FLAG_ZF);
	default:
		return false;
	}
}

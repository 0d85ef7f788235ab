/*
 * The emulator's front door: one table from instruction to handler.
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <vmm/x86/emulate_private.h>

static enum emu_result
emu_nop(struct emu *e)
{
	(void)e;
	return EMU_OK;
}

static enum emu_result
emu_ud(struct emu *e)
{
	return raise_fault(e, VEC_UD);
}

static handler *const handlers[INSN_OP_COUNT] = {
	[INSN_UD] = emu_ud,
	[INSN_NOP] = emu_nop,

	[INSN_MOV] = emu_mov,
	[INSN_MOVZX] = emu_mov,
	[INSN_XLAT] = emu_mov,
	[INSN_MOVSX] = emu_movsx,
	[INSN_MOVBE] = emu_movbe,
	[INSN_LEA] = emu_lea,
	[INSN_XCHG] = emu_xchg,
	[INSN_BSWAP] = emu_bswap,
	[INSN_CMOV] = emu_cmov,
	[INSN_SETCC] = emu_setcc,
	[INSN_CBW] = emu_cbw,
	[INSN_CWD] = emu_cwd,
	[INSN_BOUND] = emu_bound,
	[INSN_SAHF] = emu_flags,
	[INSN_LAHF] = emu_flags,
	[INSN_SALC] = emu_flags,
	[INSN_CLC] = emu_flags,
	[INSN_STC] = emu_flags,
	[INSN_CMC] = emu_flags,
	[INSN_CLD] = emu_flags,
	[INSN_STD] = emu_flags,

	[INSN_ADD] = emu_alu,
	[INSN_OR] = emu_alu,
	[INSN_ADC] = emu_alu,
	[INSN_SBB] = emu_alu,
	[INSN_AND] = emu_alu,
	[INSN_SUB] = emu_alu,
	[INSN_XOR] = emu_alu,
	[INSN_CMP] = emu_alu,
	[INSN_TEST] = emu_alu,
	[INSN_INC] = emu_unary,
	[INSN_DEC] = emu_unary,
	[INSN_NEG] = emu_unary,
	[INSN_NOT] = emu_unary,
	[INSN_MUL] = emu_mul,
	[INSN_IMUL] = emu_mul,
	[INSN_IMUL2] = emu_imul2,
	[INSN_DIV] = emu_div,
	[INSN_IDIV] = emu_div,
	[INSN_ADCX] = emu_adx,
	[INSN_ADOX] = emu_adx,
	[INSN_CMPXCHG] = emu_cmpxchg,
	[INSN_CMPXCHG8B] = emu_cmpxchg8b,
	[INSN_XADD] = emu_xadd,

	[INSN_ROL] = emu_shift,
	[INSN_ROR] = emu_shift,
	[INSN_RCL] = emu_shift,
	[INSN_RCR] = emu_shift,
	[INSN_SHL] = emu_shift,
	[INSN_SHR] = emu_shift,
	[INSN_SAR] = emu_shift,
	[INSN_SHLD] = emu_double_shift,
	[INSN_SHRD] = emu_double_shift,
	[INSN_BT] = emu_bit_test,
	[INSN_BTS] = emu_bit_test,
	[INSN_BTR] = emu_bit_test,
	[INSN_BTC] = emu_bit_test,
	[INSN_BSF] = emu_bit_scan,
	[INSN_BSR] = emu_bit_scan,
	[INSN_TZCNT] = emu_count,
	[INSN_LZCNT] = emu_count,
	[INSN_POPCNT] = emu_count,
	[INSN_CRC32] = emu_crc32,

	[INSN_PUSH] = emu_insn_push,
	[INSN_POP] = emu_insn_pop,
	[INSN_PUSHA] = emu_pusha,
	[INSN_POPA] = emu_popa,
	[INSN_ENTER] = emu_enter,
	[INSN_LEAVE] = emu_leave,
	[INSN_JMP] = emu_jmp,
	[INSN_JMP_IND] = emu_jmp_ind,
	[INSN_JCC] = emu_jcc,
	[INSN_JCXZ] = emu_jcxz,
	[INSN_LOOP] = emu_loop,
	[INSN_LOOPE] = emu_loop,
	[INSN_LOOPNE] = emu_loop,
	[INSN_CALL] = emu_call,
	[INSN_CALL_IND] = emu_call,
	[INSN_RET] = emu_ret,

	[INSN_MOVS] = emu_string,
	[INSN_CMPS] = emu_string,
	[INSN_STOS] = emu_string,
	[INSN_LODS] = emu_string,
	[INSN_SCAS] = emu_string,

	[INSN_DAA] = emu_daa,
	[INSN_DAS] = emu_daa,
	[INSN_AAA] = emu_aaa,
	[INSN_AAS] = emu_aaa,
	[INSN_AAM] = emu_aam,
	[INSN_AAD] = emu_aad,
};

enum emu_result
emulate(struct cpu_state *state, const struct insn *insn, const struct emu_ops *ops, void *ctx,
	struct emu_fault *fault)
{
	struct emu e = { state, insn, ops, ctx, fault, 0 };
	enum emu_result result;

	if (insn_is_sensitive(insn->op))
		return EMU_SENSITIVE;
	if (insn->op >= INSN_OP_COUNT || !handlers[insn->op])
		return EMU_UNSUPPORTED;
	e.next = insn_next_rip(state, insn);
	result = handlers[insn->op](&e);
	if (result == EMU_OK)
		state->rip = e.next;
	return result;
}

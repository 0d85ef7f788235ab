/*
 * String instructions: movs cmps stos lods scas, and the steps that ins and outs share with them.
 *
 * A repeated one does at most EMU_REP_MAX iterations per call and then says EMU_AGAIN, with rip
 * where it was and rSI, rDI, rCX on: that is how a CPU takes an interrupt in one (SDM 2B "REP":
 * "a repeating string operation can be suspended by an exception or interrupt").
 *
 * SDM = Intel SDM order no. 325462-080, June 2023.
 */
#include <vmm/x86/emulate_private.h>

static bool
repeats(const struct insn *insn)
{
	return insn->prefixes & (PFX_REP | PFX_REPNE);
}

bool
insn_string_done(const struct cpu_state *state, const struct insn *insn)
{
	return repeats(insn) && !gpr_read(state, RCX, insn->addrsize);
}

static void
step_register(struct cpu_state *state, const struct insn *insn, unsigned reg, unsigned size)
{
	uint64_t step = state->rflags & FLAG_DF ? -(uint64_t)size : size;

	gpr_write(state, reg, insn->addrsize, state->gpr[reg] + step);
}

bool
insn_string_step(struct cpu_state *state, const struct insn *insn, unsigned size, bool src,
		 bool dst)
{
	if (src)
		step_register(state, insn, RSI, size);
	if (dst)
		step_register(state, insn, RDI, size);
	if (!repeats(insn))
		return true;
	gpr_write(state, RCX, insn->addrsize, state->gpr[RCX] - 1);
	return !gpr_read(state, RCX, insn->addrsize);
}

/* One iteration but for the registers' steps. */
static int
iterate(struct emu *e, unsigned size)
{
	uint64_t a, b;

	if (load(e, 1, &b))
		return -EFAULT;
	if (e->insn->op != INSN_CMPS && e->insn->op != INSN_SCAS)
		return store(e, 0, b);
	if (load(e, 0, &a))
		return -EFAULT;
	e->state->rflags = flags_sub(e->state->rflags, a, b, 0, size);
	return 0;
}

/* repe goes on while ZF is set, repne while it is clear; the others don't look. */
static bool
comparison_ends(const struct emu *e)
{
	bool zero = e->state->rflags & FLAG_ZF;

	if (e->insn->op != INSN_CMPS && e->insn->op != INSN_SCAS)
		return false;
	return zero != !!(e->insn->prefixes & PFX_REP);
}

enum emu_result
emu_string(struct emu *e)
{
	const struct insn *insn = e->insn;
	unsigned op = insn->op, size = insn->opnd[0].size;
	unsigned max = e->state->rflags & FLAG_TF ? 1 : EMU_REP_MAX; /* a #DB behind each */
	bool src = op == INSN_MOVS || op == INSN_CMPS || op == INSN_LODS, dst = op != INSN_LODS;

	if (insn_string_done(e->state, insn))
		return EMU_OK;
	for (unsigned i = 0; i < max; i++) {
		if (iterate(e, size))
			return EMU_FAULT;
		if (insn_string_step(e->state, insn, size, src, dst) || comparison_ends(e))
			return EMU_OK;
	}
	return EMU_AGAIN;
}

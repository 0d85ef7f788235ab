/*
 * Exits that te does not have: instructions that do not trap in ring 1, and that bt calls out for.
 */
#include <vmm/bt/bt.h>

/* int3, into, int1: the guest's own exceptions, which return behind the instruction. */
static enum verdict
software_exception(struct vcpu *v, struct exit *e, enum vector vector)
{
	vcpu_advance(v, e); /* safe: traps are delivered behind their instruction (SDM 3A 6.5) */
	e->reason = EXIT_EXCEPTION;
	e->vector = vector;
	e->error = 0;
	return exit_dispatch(v, e);
}

static enum verdict
exit_emulate(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);

	switch (i->op) {
	case INSN_INT3:
		return software_exception(v, e, VEC_BP);
	case INSN_INT1:
		return software_exception(v, e, VEC_DB);
	case INSN_INTO:
		if (v->state.rflags & FLAG_OF)
			return software_exception(v, e, VEC_OF);
		vcpu_advance(v, e); /* safe: without overflow it does nothing */
		return RESUME;
	case INSN_LAR:
	case INSN_LSL:
	case INSN_VERR:
	case INSN_VERW:
		return bt_verify(v, e);
	default:
		if (i->has_mem)
			e->gva = te_linear(v, i);
		return te_emulate(v, e);
	}
}
EXIT_HANDLER(EMULATE, "bt", exit_emulate);

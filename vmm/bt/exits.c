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

/* Whether the CPU could not have done this access: somebody wants to be told, or there is no memory. */
static bool
is_refused(struct vcpu *v, uint32_t linear)
{
	const struct p2m_entry *p;
	gpa_t at;

	if (gva_to_gpa(v, gva(linear), HOW_WRITE | HOW_QUIET, &at))
		return true;
	p = p2m_entry(v->domain, gpa_to_gfn(at));
	return !p || p->type != P2M_RAM || p->trace;
}

static void
count_hot(struct vcpu *v, const struct insn *i)
{
	uint32_t eip = (uint32_t)v->state.rip;
	uint64_t sp = v->state.seg[SEG_SS].base + v->state.gpr[RSP];

	if (te_cpl(v) == 0 && !insn_is_sensitive(i->op) && bt_is_hot(bt_of(v), eip))
		bt_count_callout(v, eip,
				 is_refused(v, (uint32_t)(i->has_mem ? te_linear(v, i) : sp - 4)));
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
		count_hot(v, i);
		if (i->has_mem)
			e->gva = te_linear(v, i);
		return te_emulate(v, e);
	}
}
EXIT_HANDLER(EMULATE, "bt", exit_emulate);

static enum verdict
exit_entry_failed(struct vcpu *v, struct exit *e)
{
	if (e->raw == BT_NOT_TRANSLATED)
		return exit_stop(v, e, "lab3a.md#ex-3-1",
				 "its code was not translated: exercise 3.1 is not done");
	return te_exit_entry_failed(v, e);
}
EXIT_HANDLER(ENTRY_FAILED, "bt", exit_entry_failed);

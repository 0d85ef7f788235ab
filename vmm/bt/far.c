/*
 * Far transfers through the guest's own descriptors: jmp, call and retf within ring 0, retf to ring
 * 3.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <inc/errno.h>
#include <vmm/bt/bt.h>

static int
read_target(struct vcpu *v, const struct insn *i, struct te_access *a, struct far_pointer *far,
	    struct emu_fault *f)
{
	if (i->op == INSN_JMP_FAR_IND || i->op == INSN_CALL_FAR_IND)
		return insn_read_far(&v->state, i, &te_ops, a, far, f);
	far->sel = (uint16_t)i->imm2;
	far->offset = i->opsize == 2 ? i->imm & 0xffff : i->imm & 0xffffffff;
	return 0;
}

static int
jump(struct vcpu *v, const struct insn *i, struct te_access *a, struct emu_fault *f)
{
	bool call = i->op == INSN_CALL_FAR || i->op == INSN_CALL_FAR_IND;
	uint64_t after = insn_next_rip(&v->state, i), desc = DESC_S;
	uint16_t cs = v->state.seg[SEG_CS].sel;
	struct far_pointer far = { 0 };
	int err = read_target(v, i, a, &far, f);

	if (!err)
		err = te_check_selector(v, far.sel, DESC_FOR_JUMP, te_cpl(v), &desc, f);
	if (err && !(desc & DESC_S))
		return -ENOSYS; /* no code segment */
	if (!err && call)
		err = emu_push(&v->state, i->opsize, cs, &te_ops, a, f);
	if (!err && call)
		err = emu_push(&v->state, i->opsize, after, &te_ops, a, f);
	if (!err && far.offset > desc_limit(desc)) {
		*f = (struct emu_fault){ .vector = VEC_GP, .has_error = true };
		err = -EFAULT;
	}
	if (err)
		return err;
	te_set_segment(v, SEG_CS, (far.sel & ~3) | te_cpl(v), desc);
	v->state.rip = far.offset;
	return 0;
}

/* ret n drops n bytes of the stack, as wide as it is. */
static void
drop(struct vcpu *v, const struct insn *i)
{
	unsigned size = stack_size_of(&v->state);

	if (i->imm_size)
		gpr_write(&v->state, RSP, size, gpr_read(&v->state, RSP, size) + (i->imm & 0xffff));
}

static int
far_return(struct vcpu *v, const struct insn *i, struct te_access *a, struct emu_fault *f)
{
	uint64_t eip, cs, esp = 0, ss = 0, code, stack = 0;
	struct cpu_state *s = &v->state;
	unsigned from = te_cpl(v), rpl;
	int err = emu_pop(s, i->opsize, &eip, &te_ops, a, f);

	if (!err)
		err = emu_pop(s, i->opsize, &cs, &te_ops, a, f);
	if (err)
		return err;
	rpl = cs & 3;
	err = te_check_selector(v, (uint16_t)cs, DESC_FOR_RETURN, from, &code, f);
	drop(v, i);
	if (!err && rpl > from) {
		err = emu_pop(s, i->opsize, &esp, &te_ops, a, f);
		if (!err)
			err = emu_pop(s, i->opsize, &ss, &te_ops, a, f);
		if (!err)
			err = te_check_selector(v, (uint16_t)ss, DESC_FOR_STACK, rpl, &stack, f);
	}
	if (err)
		return err;
	te_set_segment(v, SEG_CS, (uint16_t)cs, code);
	s->rip = eip;
	if (rpl > from) {
		te_set_segment(v, SEG_SS, (uint16_t)ss, stack);
		s->gpr[RSP] = esp;
		te_drop_inner_segments(v);
		drop(v, i);
	}
	return 0;
}

static enum verdict
exit_far(struct vcpu *v, struct exit *e)
{
	const struct cpu_state before = v->state;
	const struct insn *i = te_insn(v);
	struct te_access access = { .v = v };
	struct emu_fault f = { 0 };
	int err = i->op == INSN_RETF ? far_return(v, i, &access, &f) : jump(v, i, &access, &f);

	if (err)
		v->state = before;
	if (err == -ENOSYS)
		return te_far(v, e); /* a gate or a TSS */
	if (err)
		return te_guest_fault(v, e, &access, &f);
	vcpu_done(v);
	te_cpl_changed(v);
	exit_effect(v, EFFECT_FAR, v->state.seg[SEG_CS].sel, v->state.rip);
	return RESUME;
}
EXIT_HANDLER(FAR, "bt", exit_far);

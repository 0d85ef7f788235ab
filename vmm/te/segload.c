/*
 * Segment registers whose real form faults in ring 1 though the guest's may be right: a stack
 * selector has RPL 0 where ring 1 wants 1; a descriptor may have no shadow. Far transfers:
 * rare/far.c.
 */
#include <vmm/te/te.h>

static enum verdict
null_load(struct vcpu *v, enum seg_reg seg, uint16_t sel)
{
	v->state.seg[seg] = (struct segment){ .sel = sel };
	te_of(v)->real_desc[seg] = 0;
	te_resync(v);
	return RESUME;
}

/*
 * What register seg holds of a descriptor. Code that DS, ES, FS or GS hold is there to be read, so
 * it is data without W: ring-3 code has no shadow in ring 1, where an iret could go to it. What
 * conforms is for all rings, and stays on the way to an outer one (SDM 2A "IRET").
 */
uint64_t
te_register_shadow(struct vcpu *v, enum seg_reg seg, uint64_t desc)
{
	if (seg != SEG_CS && seg != SEG_SS && desc & DESC_CODE)
		desc = (desc & ~(DESC_CODE | DESC_EC | DESC_RW)) |
		       (desc & DESC_EC ? DESC_DPL_MASK : 0);
	return te_shadow_for(v, desc, te_cpl(v));
}

/* A segment that lies in the VMM window, or grows down into it. */
enum verdict
te_no_shadow(struct vcpu *v, struct exit *e, uint16_t sel, uint32_t base, uint32_t limit)
{
	return exit_limit(
		v, e, VEC_GP, sel & ~3u, LAB_1A "#limits",
		"selector %04x (base %08x, limit %08x) has no shadow that ends below the VMM window",
		sel, base, limit);
}

/*
 * Loads a data or stack segment register. RESUME: done, rip not advanced; else the guest has
 * faulted.
 */
static enum verdict
load_segment(struct vcpu *v, struct exit *e, enum seg_reg seg, uint16_t sel)
{
	enum desc_use use = seg == SEG_SS ? DESC_FOR_STACK : DESC_FOR_DATA;
	struct emu_fault f;
	uint64_t desc, shadow;

	if (!(sel & ~3) && seg != SEG_SS)
		return null_load(v, seg, sel);
	if (te_check_selector(v, sel, use, te_cpl(v), &desc, &f))
		return te_guest_fault(v, e, &(struct te_access){ .v = v }, &f);
	shadow = te_register_shadow(v, seg, desc);
	if (!(shadow & DESC_P))
		return te_no_shadow(v, e, sel, desc_base(desc), desc_limit(desc));
	v->state.seg[seg] = desc_segment(desc | DESC_A, sel);
	te_of(v)->real_desc[seg] = shadow;
	te_resync(v);
	exit_effect(v, EFFECT_SEGMENT, seg, sel);
	return RESUME;
}

/*
 * Behind mov ss and pop ss, not lss, neither an interrupt nor a debug trap comes for one
 * instruction; a single step is not even kept (SDM 3A 6.8.3).
 */
static void
hold_traps(struct vcpu *v)
{
	v->state.sti_shadow = v->state.mov_ss_shadow = true;
	v->state.pending_debug &= ~DR6_BS;
}

/* mov to segment, pop segment, lds & co. */
enum verdict
te_segment(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);
	struct te_access access = { .v = v };
	struct cpu_state after = v->state;
	struct far_pointer far = { 0 };
	struct emu_fault f;
	enum seg_reg seg = SEG_DS;
	enum verdict verdict;
	uint64_t value = 0;
	int err;

	switch (i->op) {
	case INSN_MOV_TO_SEG:
		seg = i->opnd[0].reg;
		err = insn_read_opnd(&v->state, i, 1, &te_ops, &access, &value, &f);
		break;
	case INSN_POP_SEG:
		seg = i->opnd[0].reg;
		err = emu_pop(&after, i->opsize, &value, &te_ops, &access, &f);
		break;
	default:
		seg = i->op == INSN_LSS   ? SEG_SS
		      : i->op == INSN_LES ? SEG_ES
		      : i->op == INSN_LFS ? SEG_FS
		      : i->op == INSN_LGS ? SEG_GS
					  : SEG_DS;
		err = insn_read_far(&v->state, i, &te_ops, &access, &far, &f);
		value = far.sel;
		gpr_write(&after, i->opnd[0].reg, i->opsize, far.offset);
	}
	if (err)
		return te_guest_fault(v, e, &access, &f);
	verdict = load_segment(v, e, seg, value);
	if (verdict != RESUME)
		return verdict;
	memcpy(v->state.gpr, after.gpr, sizeof(after.gpr));
	vcpu_advance(v, e); /* safe: the selector is loaded, the stack or register updated */
	if (seg == SEG_SS && i->op != INSN_LSS)
		hold_traps(v);
	return RESUME;
}
EXIT_HANDLER(SEGMENT, "te", te_segment);

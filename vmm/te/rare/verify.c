/*
 * lar, lsl, verr, verw, which look at the guest's own descriptors and set ZF; arpl, which looks at
 * none.
 */
#include <vmm/te/rare/rare.h>

#define LAR_BITS 0xf0ff00u /* 19:16 are undefined (SDM 2A "LAR") */

/* SDM 2A "LAR", table 3-53, and "LSL", table 3-56: by type of a system descriptor. */
#define LAR_TYPES (1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12)
#define LSL_TYPES (1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11)

static bool
holds(struct vcpu *v, unsigned op, uint16_t sel, uint64_t *desc)
{
	const uint64_t writable = DESC_S | DESC_RW;
	unsigned types = op == INSN_LAR ? LAR_TYPES : LSL_TYPES;

	if (!(sel & ~3) || te_guest_descriptor(v, sel, desc))
		return false;
	switch (op) {
	case INSN_LAR:
	case INSN_LSL:
		return desc_reachable(*desc, sel, te_cpl(v)) &&
		       (*desc & DESC_S || types >> desc_type(*desc) & 1);
	case INSN_VERW:
		if ((*desc & (writable | DESC_CODE)) != writable)
			return false;
		/* fall through */
	default:
		return desc_suits(*desc, sel, te_cpl(v), DESC_FOR_DATA);
	}
}

enum verdict
te_verify(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);
	struct te_access access = { .v = v };
	struct emu_fault f;
	uint64_t sel, desc = 0;

	if (insn_read_rm(&v->state, i, 2, &te_ops, &access, &sel, &f))
		return te_guest_fault(v, e, &access, &f);
	v->state.rflags &= ~(uint64_t)FLAG_ZF;
	if (holds(v, i->op, (uint16_t)sel, &desc)) {
		v->state.rflags |= FLAG_ZF;
		if (i->op == INSN_LAR)
			gpr_write(&v->state, i->opnd[0].reg, i->opsize, desc >> 32 & LAR_BITS);
		if (i->op == INSN_LSL)
			gpr_write(&v->state, i->opnd[0].reg, i->opsize, desc_limit(desc));
	}
	return vcpu_advance(v, e); /* safe: ZF and the register are all */
}

/* SDM 2A "ARPL": a selector gets the RPL of its caller's, if that is the weaker one. */
enum verdict
te_arpl(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);
	struct te_access access = { .v = v };
	unsigned rpl = v->state.gpr[i->reg] & 3;
	struct emu_fault f;
	uint64_t sel;

	if (insn_read_rm(&v->state, i, 2, &te_ops, &access, &sel, &f))
		return te_guest_fault(v, e, &access, &f);
	if ((sel & 3) < rpl &&
	    insn_write_rm(&v->state, i, 2, (sel & ~3ul) | rpl, &te_ops, &access, &f))
		return te_guest_fault(v, e, &access, &f);
	v->state.rflags &= ~(uint64_t)FLAG_ZF;
	if ((sel & 3) < rpl)
		v->state.rflags |= FLAG_ZF;
	return vcpu_advance(v, e); /* safe: ZF and the selector are all */
}

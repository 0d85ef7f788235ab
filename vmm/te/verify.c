/*
 * lar, lsl, verr, verw, which look at the guest's own descriptors and set ZF; arpl, which looks at
 * none.
 */
#include <vmm/te/te.h>

#define LAR_BITS 0xf0ff00u /* 19:16 are undefined (SDM 2A "LAR") */

/* SDM 2A "LAR", table 3-53, and "LSL", table 3-56: by type of a system descriptor. */
#define LAR_TYPES (1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12)
#define LSL_TYPES (1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11)

static bool
reachable(struct vcpu *v, uint16_t sel, uint64_t desc)
{
	unsigned dpl = desc_dpl(desc);

	if (desc & DESC_S && desc & DESC_CODE && desc & DESC_EC)
		return true;
	return dpl >= te_cpl(v) && dpl >= (sel & 3u);
}

static bool
holds(struct vcpu *v, unsigned op, uint16_t sel, uint64_t *desc)
{
	unsigned type;

	if (!(sel & ~3) || te_guest_descriptor(v, sel, desc) || !reachable(v, sel, *desc))
		return false;
	type = 1u << (*desc >> 40 & 15);
	switch (op) {
	case INSN_LAR:
		return *desc & DESC_S || type & LAR_TYPES;
	case INSN_LSL:
		return *desc & DESC_S || type & LSL_TYPES;
	case INSN_VERR:
		return *desc & DESC_S && (!(*desc & DESC_CODE) || *desc & DESC_RW);
	default:
		return *desc & DESC_S && !(*desc & DESC_CODE) && *desc & DESC_RW;
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
	vcpu_advance(v, e); /* safe: ZF and the register are all */
	return RESUME;
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
	vcpu_advance(v, e); /* safe: ZF and the selector are all */
	return RESUME;
}

/*
 * Sensitive instructions that do not trap in ring 1, for the one case in which they come to us all
 * the same: their memory operand or their stack lies in a frame that is tracked, or where there is
 * no memory.
 *
 * Run natively they show the real machine (Lab 1B makes a list of that); done here they show the
 * guest's own.
 */
#include <kern/cpu.h>
#include <vmm/te/rare/rare.h>
#include <vmm/te/te.h>

/*
 * What popf may change when CPL is 0; IOPL and IF are for the privileged (SDM 2B
 * "POPF/POPFD/POPFQ", table 4-16).
 */
#define POPF_CHANGES                                                                               \
	(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_OF | \
	 FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID)

static int
popf(struct vcpu *v, const struct insn *i, struct te_access *a, struct emu_fault *f)
{
	uint64_t mask = i->opsize == 2 ? POPF_CHANGES & 0xffff : POPF_CHANGES, value;

	if (te_cpl(v) > 0)
		mask &= ~(uint64_t)FLAG_IOPL;
	if (te_cpl(v) > (v->state.rflags & FLAG_IOPL) >> 12)
		mask &= ~(uint64_t)FLAG_IF;
	if (emu_pop(&v->state, i->opsize, &value, &te_ops, a, f))
		return -1;
	v->state.rflags = (v->state.rflags & ~mask) | (value & mask) | FLAG_ONE;
	return 0;
}

static int
store_table(struct vcpu *v, const struct insn *i, struct te_access *a, struct emu_fault *f)
{
	const struct table_reg *t = i->op == INSN_SGDT ? &v->state.gdtr : &v->state.idtr;

	return insn_write_table(&v->state, i, t, &te_ops, a, f);
}

static int
store_selector(struct vcpu *v, const struct insn *i, struct te_access *a, struct emu_fault *f)
{
	uint64_t value = i->op == INSN_SLDT   ? v->state.ldtr.sel
			 : i->op == INSN_STR  ? v->state.tr.sel
			 : i->op == INSN_SMSW ? v->state.cr0 & 0xffffffff
					      : v->state.seg[i->opnd[1].reg].sel;

	/*
	 * A register gets all of its operand size (SDM 2B "SLDT", "SMSW", "STR"; SDM 2B "MOV":
	 * zeros above a selector).
	 */
	return insn_write_rm(&v->state, i, i->has_mem ? 2 : i->opsize, value, &te_ops, a, f);
}

/* RESUME with rip advanced, or the guest has faulted or is stopped. */
enum verdict
te_emulate_sensitive(struct vcpu *v, struct exit *e, struct te_access *a)
{
	const struct insn *i = te_insn(v);
	struct emu_fault f;
	int err;

	switch (i->op) {
	case INSN_PUSHF: /* the image has RF and VM clear */
		err = emu_push(&v->state, i->opsize,
			       v->state.rflags & ~(uint64_t)(FLAG_RF | FLAG_VM), &te_ops, a, &f);
		break;
	case INSN_POPF:
		err = popf(v, i, a, &f);
		break;
	case INSN_PUSH_SEG:
		err = emu_push(&v->state, i->opsize, v->state.seg[i->opnd[0].reg].sel, &te_ops, a,
			       &f);
		break;
	case INSN_SGDT:
	case INSN_SIDT:
		err = store_table(v, i, a, &f);
		break;
	case INSN_SLDT:
	case INSN_STR:
	case INSN_SMSW:
	case INSN_MOV_FROM_SEG:
		err = store_selector(v, i, a, &f);
		break;
	case INSN_MOV_TO_SEG:
	case INSN_POP_SEG:
	case INSN_LDS:
	case INSN_LES:
	case INSN_LFS:
	case INSN_LGS:
	case INSN_LSS:
		return te_segment(v, e);
	case INSN_LAR:
	case INSN_LSL:
	case INSN_VERR:
	case INSN_VERW:
		return te_verify(v, e);
	case INSN_ARPL:
		return te_arpl(v, e);
	case INSN_IRET: /* this and the next ones have handlers of their own */
		return v->handlers[EXIT_IRET](v, e);
	case INSN_JMP_FAR:
	case INSN_JMP_FAR_IND:
	case INSN_CALL_FAR:
	case INSN_CALL_FAR_IND:
	case INSN_RETF:
		return v->handlers[EXIT_FAR](v, e);
	default: /* no CPU model of a guest has it: xsaves, vmptrld ... */
		return event_fault(v, VEC_UD, 0);
	}
	if (err)
		return te_guest_fault(v, e, a, &f);
	exit_effect(v, EFFECT_WRITE, i->opsize, e->gva);
	return vcpu_advance(v, e); /* safe: the whole of the instruction is done */
}

/*
 * With umip=1 the host sets CR4.UMIP, and five of the holes are closed: the CPU refuses them
 * outside of ring 0. The guest's own CR4.UMIP is clear, so it sees its own values at every level
 * (SDM 3A 2.5, "UMIP").
 */
static enum verdict
exit_umip(struct vcpu *v, struct exit *e)
{
	struct te_access access = { .v = v };

	return te_emulate_sensitive(v, e, &access);
}
EXIT_HANDLER(UMIP, "te", exit_umip);

bool te_umip; /* boot option umip=1 */

static void
umip_init(void)
{
	uint32_t most[4], r[4];

	te_umip = !strcmp(cmdline_get("umip", "0"), "1");
	if (!te_umip)
		return;
	cpuid(0, 0, most);
	cpuid(7, 0, r);
	if (most[0] >= 7 && r[2] & 1 << 2)
		write_cr4(read_cr4() | CR4_UMIP);
	else
		printf("umip=1: this CPU has no UMIP\n");
}
INITCALL(50, umip_init);

bool
te_umip_refuses(const struct insn *i)
{
	return i->op == INSN_SGDT || i->op == INSN_SIDT || i->op == INSN_SLDT ||
	       i->op == INSN_STR || i->op == INSN_SMSW;
}

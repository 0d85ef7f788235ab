/*
 * Control and task registers, and the LDT: the guest's are virtual, and these are the rules for
 * them.
 */
#include <inc/errno.h>
#include <vmm/te/te.h>
#include <vmm/words/limits.h>

#define OR_BIT(name, why) | name
#define CR0_KNOWN                                                                 \
	((uint64_t)CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_WP | CR0_AM | \
	 CR0_PG CR0_WITHOUT_EFFECT(OR_BIT))
#define CR4_KNOWN                                                                \
	((uint64_t)CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR | \
	 CR4_OSXMMEXCPT CR4_WITHOUT_EFFECT(OR_BIT))

static enum verdict
guest_cr0(struct vcpu *v, struct exit *e, uint64_t value)
{
	/* SDM 2B "MOV (Move to/from Control Registers)": what is #GP(0). */
	if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
		return event_fault(v, VEC_GP, 0);
	if (!(value & CR0_PE))
		return limit_refuse(v, e, LIMIT_REAL_MODE);
	if (value & CR0_PG && !v->domain->mmu)
		return exit_stop(v, e, "lab2a.md#paging", "it turned paging on, which is Lab 2");
	v->state.cr0 = (value & CR0_KNOWN) | CR0_ET;
	return RESUME;
}

/* What a write to a control register may have to give back. */
struct control {
	uint64_t cr0, cr3, cr4;
};

/*
 * Registers that paging depends on have been written; before them, *old was. RESUME, or the guest
 * faulted or is stopped.
 */
static enum verdict
paging_changed(struct vcpu *v, struct exit *e, const struct control *old)
{
	struct cpu_state *s = &v->state;
	bool was_on = old->cr0 & CR0_PG, is_on = s->cr0 & CR0_PG;
	int err;

	if (!is_on && !was_on)
		return RESUME;
	err = v->domain->mmu->load(v);
	if (!err)
		err = te_tables_moved(v);
	if (!err)
		return RESUME;
	s->cr0 = old->cr0;
	s->cr3 = old->cr3;
	s->cr4 = old->cr4;
	te_load_cr4(v);
	switch (err) {
	case -EINVAL:
		return event_fault(v, VEC_GP, 0);
	case -ENOMEM:
		return exit_stop(v, e, "lab2b.md#reclaim",
				 "the host has no memory for shadow page tables");
	default:
		return exit_stop(v, e, "lab2a.md#ex-2-1",
				 "it turned paging on: exercise 2.1 is not done");
	}
}

/*
 * SDM 3A 4.10.4.1: what invalidates TLB entries; 4.4.1: what loads PAE's registers. TS changes at
 * every switch of tasks.
 */
static bool
paging_written(const struct control *old, const struct cpu_state *new, unsigned n)
{
	const uint64_t cr4_bits = CR4_PSE | CR4_PAE | CR4_PGE;

	return n == 3 || (n == 0 && (old->cr0 ^ new->cr0) & (CR0_PG | CR0_WP)) ||
	       (n == 4 && (old->cr4 ^ new->cr4) & cr4_bits);
}

/*
 * Writes the guest's control register n. RESUME: done, rip not advanced; else the guest has faulted
 * or is stopped. Of CR0's bits the CPU gets TS, EM, MP and AM at the next entry, of CR4's TSD,
 * OSFXSR and OSXMMEXCPT at once.
 */
enum verdict
te_write_cr(struct vcpu *v, struct exit *e, unsigned n, uint64_t value)
{
	const struct control old = { v->state.cr0, v->state.cr3, v->state.cr4 };
	enum verdict verdict = RESUME;

	switch (n) {
	case 0:
		verdict = guest_cr0(v, e, value);
		break;
	case 2:
		v->state.cr2 = value;
		break;
	case 3:
		v->state.cr3 = value;
		break;
	case 4:
		if (value & ~CR4_KNOWN)
			return event_fault(v, VEC_GP, 0);
		v->state.cr4 = value;
		te_load_cr4(v);
		verdict = limit_ports(v, e);
		break;
	default:
		return event_fault(v, VEC_UD, 0); /* there is no such register */
	}
	if (verdict == RESUME && paging_written(&old, &v->state, n))
		verdict = paging_changed(v, e, &old);
	if (verdict == RESUME)
		exit_effect(v, EFFECT_CR_WRITE, n, value);
	return verdict;
}

/* clts, lmsw: parts of CR0 (SDM 2A "CLTS", "LMSW": it can set PE, not clear it). */
enum verdict
te_cr0_parts(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);
	struct te_access access = { .v = v };
	uint64_t cr0 = v->state.cr0, value;
	enum verdict verdict;
	struct emu_fault f;

	if (i->op == INSN_CLTS) {
		cr0 &= ~(uint64_t)CR0_TS;
	} else {
		if (insn_read_rm(&v->state, i, 2, &te_ops, &access, &value, &f))
			return te_guest_fault(v, e, &access, &f);
		cr0 = (cr0 & ~0xeull) | (value & 0xf);
	}
	verdict = te_write_cr(v, e, 0, cr0);
	if (verdict == RESUME)
		vcpu_advance(v, e); /* safe: clts and lmsw do nothing else */
	return verdict;
}

/* lldt and ltr: a system segment of the GDT into its register (SDM 2A "LLDT", "LTR"). */
static enum verdict
system_segment(struct vcpu *v, struct exit *e, uint16_t sel)
{
	bool ldt = e->reason == EXIT_LLDT;
	struct emu_fault f;
	uint64_t desc;

	if (te_check_selector(v, sel, ldt ? DESC_FOR_LDT : DESC_FOR_TSS, 0, &desc, &f))
		return te_guest_fault(v, e, &(struct te_access){ .v = v }, &f);
	if (ldt) {
		v->state.ldtr = desc_segment(desc, sel);
		return te_ldt_changed(v)
			       ? exit_stop(v, e, LAB_1A "#limits", "no memory for its LDT")
			       : RESUME;
	}
	desc |= 2ull << 40; /* busy */
	if (gva_write(v, gva(v->state.gdtr.base + (sel & ~7)), &desc, 8) && v->page_fault.pending)
		return event_page_fault(v);
	v->state.tr = desc_segment(desc, sel);
	return RESUME;
}

static enum verdict
exit_system_segment(struct vcpu *v, struct exit *e)
{
	struct te_access access = { .v = v };
	enum verdict verdict = RESUME;
	struct emu_fault f;
	uint64_t sel;

	if (insn_read_rm(&v->state, te_insn(v), 2, &te_ops, &access, &sel, &f))
		return te_guest_fault(v, e, &access, &f);
	if (sel & ~3) {
		verdict = system_segment(v, e, sel);
	} else if (e->reason == EXIT_LTR) {
		return event_fault(v, VEC_GP, 0);
	} else {
		v->state.ldtr = (struct segment){ .sel = sel };
		te_ldt_changed(v); /* an empty LDT needs no memory */
	}
	if (verdict != RESUME)
		return verdict;
	exit_effect(v, EFFECT_TABLE, sel, 0);
	return vcpu_advance(v, e); /* safe: the register and its shadow are loaded */
}
EXIT_HANDLER(LLDT, "te", exit_system_segment);
EXIT_HANDLER(LTR, "te", exit_system_segment);

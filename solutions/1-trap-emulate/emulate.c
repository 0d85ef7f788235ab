/*
 * The guest's privileged instructions, each by a function. Lab 1A, exercises 1.2, 1.4 and 1.5.
 *
 * A handler finds the decoded instruction in te_insn(v), does to v->state and the devices what the
 * bare CPU would have done, notes the effect for the exit trace, moves rip past the instruction,
 * and says RESUME.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/te/te.h>

/* EXERCISE 1.0: free region for helpers of your own. */
/* END EXERCISE 1.0 */

/*
 * in: the example. The port is an immediate byte or DX, the value goes to AL, AX or EAX (SDM 2A
 * "IN").
 */
static enum verdict
do_in(struct vcpu *v, struct exit *e, const struct insn *i)
{
	uint16_t port = i->opnd[1].kind == OPND_IMM ? i->imm & 0xff : v->state.gpr[RDX] & 0xffff;
	unsigned size = i->opnd[0].size;
	uint32_t value = io_read(v->domain, port, size);

	gpr_write(&v->state, RAX, size, value);
	exit_effect(v, EFFECT_IN, port, value);
	vcpu_advance(v, e); /* safe: the register is written, and in does nothing else */
	return RESUME;
}

static enum verdict
do_out(struct vcpu *v, struct exit *e, const struct insn *i)
{
	/* EXERCISE 1.2: out, the mirror image of in: io_write() to the port in opnd[0], of AL, AX or EAX in
	 * opnd[1] (SDM 2B "OUT"). Note EFFECT_OUT, advance, resume. A write may end the domain (the debug exit):
	 * then say STOP.
	 * until then: return exit_stop(v, e, LAB_1A "#ex-1-2", "out is not emulated: exercise 1.2 is not done");
	 */
	uint16_t port = i->opnd[0].kind == OPND_IMM ? i->imm & 0xff : v->state.gpr[RDX] & 0xffff;
	unsigned size = i->opnd[1].size;
	uint32_t value = gpr_read(&v->state, RAX, size);

	exit_effect(v, EFFECT_OUT, port, value);
	vcpu_advance(v, e); /* safe: the write follows at once, and cannot fault */
	io_write(v->domain, port, size, value);
	return v->domain->state == DOMAIN_ENDED ? STOP : RESUME;
	/* END EXERCISE 1.2 */
}

static enum verdict
exit_io(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);

	switch (i->op) {
	case INSN_IN:
		return do_in(v, e, i);
	case INSN_OUT:
		return do_out(v, e, i);
	default:
		return te_string_io(v, e);
	}
}
EXIT_HANDLER(IO, "te", exit_io);

static enum verdict
exit_cli(struct vcpu *v, struct exit *e)
{
	/* EXERCISE 1.4b: The guest's IF goes to 0, the CPU's stays 1 (SDM 2A "CLI"). Effect: EFFECT_IF, 0.
	 * until then: return exit_stop(v, e, LAB_1A "#ex-1-4", "cli is not emulated: exercise 1.4 is not done");
	 */
	v->state.rflags &= ~(uint64_t)FLAG_IF;
	exit_effect(v, EFFECT_IF, 0, 0);
	vcpu_advance(v, e); /* safe: cli changes IF alone */
	return RESUME;
	/* END EXERCISE 1.4b */
}
EXIT_HANDLER(CLI, "te", exit_cli);

static enum verdict
exit_sti(struct vcpu *v, struct exit *e)
{
	/* EXERCISE 1.4c: The guest's IF goes to 1, and no interrupt may come before the end of the *next*
	 * instruction if it was 0: v->state.sti_shadow, to be set after vcpu_advance() (SDM 2B "STI"). Effect: EFFECT_IF, 1.
	 * until then: return exit_stop(v, e, LAB_1A "#ex-1-4", "sti is not emulated: exercise 1.4 is not done");
	 */
	bool was_off = !(v->state.rflags & FLAG_IF);

	v->state.rflags |= FLAG_IF;
	exit_effect(v, EFFECT_IF, 1, 0);
	vcpu_advance(v, e); /* safe: sti changes IF alone; it ends an older shadow */
	v->state.sti_shadow = was_off;
	return RESUME;
	/* END EXERCISE 1.4c */
}
EXIT_HANDLER(STI, "te", exit_sti);

static enum verdict
exit_hlt(struct vcpu *v, struct exit *e)
{
	/* EXERCISE 1.4d: With the guest's IF at 0 nothing can ever wake it: exit_stop() with the page
	 * LAB_1A "#dead-halt" and a text that says "dead halt". With IF at 1 it waits for an interrupt:
	 * te_wait(), which Lab 1B writes, and which moves rip past the hlt. (SDM 2A "HLT") The effect is EFFECT_HALT in both.
	 * until then: return exit_stop(v, e, LAB_1A "#ex-1-4", "hlt is not emulated: exercise 1.4 is not done");
	 */
	exit_effect(v, EFFECT_HALT, 0, 0);
	if (v->state.rflags & FLAG_IF)
		return te_wait(v, e);
	return exit_stop(v, e, LAB_1A "#dead-halt", "dead halt: hlt with interrupts off");
	/* END EXERCISE 1.4d */
}
EXIT_HANDLER(HLT, "te", exit_hlt);

/* lgdt and lidt: the CPU's own tables stay as they are; the guest's registers are virtual. */
static enum verdict
exit_table(struct vcpu *v, struct exit *e)
{
	struct te_access access = { .v = v };
	struct table_reg table;
	struct emu_fault f;

	if (insn_read_table(&v->state, te_insn(v), &te_ops, &access, &table, &f))
		return te_guest_fault(v, e, &access, &f);
	/* EXERCISE 1.5a: e->reason is EXIT_LGDT or EXIT_LIDT. Keep the table in v->state.gdtr or idtr. A new GDT
	 * needs a new shadow: te_gdt_changed(v) (if it fails, the host has no memory for it: exit_stop). Nobody
	 * looks at the IDT before Lab 1B. (SDM 2A "LGDT/LIDT") Effect: EFFECT_TABLE with base and limit.
	 * until then: return exit_stop(v, e, LAB_1A "#ex-1-5", "%s is not emulated: exercise 1.5 is not done", insn_name(e->insn_op));
	 */
	if (e->reason == EXIT_LGDT)
		v->state.gdtr = table;
	else
		v->state.idtr = table;
	if (e->reason == EXIT_LGDT && te_gdt_changed(v))
		return exit_stop(v, e, LAB_1A "#limits", "no memory for the shadow of its GDT");
	exit_effect(v, EFFECT_TABLE, table.base, table.limit);
	vcpu_advance(v, e); /* safe: register and shadow are loaded */
	return RESUME;
	/* END EXERCISE 1.5a */
}
EXIT_HANDLER(LGDT, "te", exit_table);
EXIT_HANDLER(LIDT, "te", exit_table);

static enum verdict
exit_cr(struct vcpu *v, struct exit *e)
{
	const struct insn *i = te_insn(v);

	if (i->op != INSN_MOV_TO_CR && i->op != INSN_MOV_FROM_CR)
		return te_cr0_parts(v, e);
	/* EXERCISE 1.5b: mov to and from CR0, CR2, CR3, CR4. opnd[0] is the destination: a control register
	 * (kind OPND_CR, reg its number) or a general one; 32 bits are moved. Reads give the guest's own value in
	 * v->state and the effect EFFECT_CR_READ (number, value); writes go through te_write_cr(), which knows what the
	 * guest may set and says RESUME if it did. (SDM 2B "MOV (Move to/from Control Registers)")
	 * until then: return exit_stop(v, e, LAB_1A "#ex-1-5", "%s is not emulated: exercise 1.5 is not done", insn_name(e->insn_op));
	 */
	const struct cpu_state *s = &v->state;
	const uint64_t crs[8] = { [0] = s->cr0, [2] = s->cr2, [3] = s->cr3, [4] = s->cr4 };

	if (i->op == INSN_MOV_TO_CR) {
		enum verdict verdict =
			te_write_cr(v, e, i->opnd[0].reg, gpr_read(s, i->opnd[1].reg, 4));

		if (verdict != RESUME)
			return verdict;
	} else {
		unsigned n = i->opnd[1].reg & 7;

		gpr_write(&v->state, i->opnd[0].reg, 4, crs[n]);
		exit_effect(v, EFFECT_CR_READ, n, crs[n]);
	}
	vcpu_advance(v, e); /* safe: the register has been moved */
	return RESUME;
	/* END EXERCISE 1.5b */
}
EXIT_HANDLER(CR, "te", exit_cr);

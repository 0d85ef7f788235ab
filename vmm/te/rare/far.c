/*
 * Far transfers that the CPU refuses in ring 1: te follows none of them, but for iret. Most end the
 * guest in words, and some are a fault on the bare machine, too.
 */
#include <vmm/te/te.h>

/* The selector that a far transfer goes to, if it is in the instruction or in memory; 0 if not. */
static uint16_t
far_target(struct vcpu *v)
{
	const struct insn *i = te_insn(v);
	struct te_access access = { .v = v };
	struct far_pointer far = { 0 };
	struct cpu_state s = v->state;
	struct emu_fault f;
	uint64_t value = 0;

	switch (i->op) {
	case INSN_JMP_FAR:
	case INSN_CALL_FAR:
		return i->imm2;
	case INSN_JMP_FAR_IND:
	case INSN_CALL_FAR_IND:
		return insn_read_far(&v->state, i, &te_ops, &access, &far, &f) ? 0 : far.sel;
	default: /* retf, iret: rip is on top of the stack, the selector below it */
		if (emu_pop(&s, i->opsize, &value, &te_ops, &access, &f) ||
		    emu_pop(&s, i->opsize, &value, &te_ops, &access, &f))
			return 0;
		return value;
	}
}

static const char *
system_type(uint64_t desc)
{
	/* SDM 3A 3.5, table 3-2 */
	static const char *const names[16] = {
		[1] = "a 16-bit TSS",       [2] = "an LDT",
		[3] = "a busy TSS",         [4] = "a 16-bit call gate",
		[5] = "a task gate",        [9] = "a TSS",
		[11] = "a busy TSS",        [12] = "a call gate",
		[6] = "an interrupt gate",  [7] = "a trap gate",
		[14] = "an interrupt gate", [15] = "a trap gate",
	};
	const char *name = names[desc_type(desc)];

	return name ? name : "a reserved system descriptor";
}

/*
 * A program's: what it may go to it went to without us, so it may not; or only through a gate,
 * which is a limit of te's.
 */
static enum verdict
user_far(struct vcpu *v, uint16_t sel)
{
	uint64_t desc;
	bool absent = !te_guest_descriptor(v, sel, &desc) && desc & DESC_S && desc & DESC_CODE &&
		      !(desc & DESC_P) && (desc & DESC_EC || desc_dpl(desc) == 3);

	return event_fault(v, absent ? VEC_NP : VEC_GP, sel & ~3u);
}

/*
 * iret with NT set returns to the task that the TSS links to. What is no busy TSS is #TS (SDM 2A
 * "IRET", TASK-RETURN); one that is, is a limit of te's.
 */
enum verdict
te_nested_iret(struct vcpu *v, struct exit *e)
{
	uint64_t desc, base = v->state.tr.base;
	uint16_t link = 0;
	unsigned type;

	if (v->state.tr.attr & ATTR_P && gva_read(v, gva(base), &link, sizeof(link)))
		return v->page_fault.pending ? event_page_fault(v) : event_fault(v, VEC_TS, 0);
	if (link & 4 || te_guest_descriptor(v, link, &desc))
		return event_fault(v, VEC_TS, link & ~3u);
	type = desc >> 40 & 0x1f;
	if (type != 3 && type != 11)
		return event_fault(v, VEC_TS, link & ~3u);
	return exit_limit(v, e, VEC_TS, link & ~3u, LAB_1B "#limits",
			  "iret with NT set would be a task switch");
}

/* te and bt have rings 0 and 3; and of the ways between those, te has iret and events. */
enum verdict
te_no_ring(struct vcpu *v, const struct exit *e, uint16_t sel, unsigned ring)
{
	return exit_stop(v, e, LAB_1B "#rings", "selector %04x leads to ring %u", sel, ring);
}

/*
 * Gates, TSSs and rings: never the CPU's to follow, and te does not emulate them: iret is the way
 * between rings.
 */
enum verdict
te_far(struct vcpu *v, struct exit *e)
{
	enum desc_use use = te_insn(v)->op == INSN_RETF ? DESC_FOR_RETURN : DESC_FOR_JUMP;
	uint16_t sel = far_target(v);
	struct emu_fault f;
	uint64_t desc;

	if (te_cpl(v) != 0)
		return user_far(v, sel);
	if ((sel & ~3) >= GDT_GUEST_PAGES * PAGE_SIZE && !(sel & 4))
		return exit_stop(v, e, LAB_1A "#host-selectors",
				 "it used selector %04x, which is the host's", sel);
	if (te_guest_descriptor(v, sel, &desc))
		return event_fault(v, VEC_GP, sel & ~3u);
	if (!(desc & DESC_S))
		return exit_stop(v, e, LAB_1A "#gates",
				 "selector %04x is %s; gates are never followed", sel,
				 system_type(desc));
	if (te_check_selector(v, sel, use, 0, &desc, &f))
		return te_guest_fault(v, e, &(struct te_access){ .v = v }, &f);
	if ((sel & 3) || desc_dpl(desc))
		return te_no_ring(v, e, sel,
				  (sel & 3) > desc_dpl(desc) ? sel & 3u : desc_dpl(desc));
	return exit_stop(v, e, LAB_1B "#far", "far transfer to %04x, which te does not emulate",
			 sel);
}
EXIT_HANDLER(FAR, "te", te_far);

/*
 * Long mode has no virtual-8086 mode, and only CPL 0 may return to it anywhere (SDM 2A "IRET").
 * QEMU 7.2 checks neither (handouts/emulators.md), so a guest can get there by an iret with VM set:
 * still ring 3 and still under its own page tables, but no state that any CPU has. That ends a
 * kernel. A program gets a #GP, as from an iret to a selector that is none; it finds the registers
 * that it was entered with.
 */
static enum verdict
exit_v86(struct vcpu *v, struct exit *e)
{
	if (e->vector >= IRQ_BASE)
		irq(e->vector);
	return exit_limit(
		v, e, VEC_GP, 0, "emulators.md#iret-vm",
		"an iret with VM set took it to virtual-8086 mode, which only QEMU allows here");
}
EXIT_HANDLER(V86, "te", exit_v86);

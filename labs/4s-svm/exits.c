/*
 * From what the VMCB says of an exit to words that all engines share: exercise 4s.5.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <kern/trap.h>
#include <vmm/dispatch.h>
#include <vmm/event.h>
#include <vmm/exits/access.h>
#include <vmm/svm/svm.h>
#include <vmm/x86/insn.h>

/* EXERCISE 4s.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4s.0 */

/* By intercept; EXIT_NONE: an instruction that this guest's CPU has not. */
static const struct {
	uint8_t reason;
	uint16_t insn_op; /* of one that an intercept of its own has caught; else 0 */
} reasons[64] = {
	[SVM_INTR] = { EXIT_IRQ, 0 },
	[SVM_NMI] = { EXIT_IRQ, 0 },
	[SVM_INIT] = { EXIT_INIT, 0 },
	[SVM_VINTR] = { EXIT_WINDOW_IRQ, 0 },
	[SVM_CPUID] = { EXIT_CPUID, INSN_CPUID },
	[SVM_IRET] = { EXIT_WINDOW_NMI, INSN_IRET },
	[SVM_INVD] = { EXIT_CACHE, INSN_INVD },
	[SVM_PAUSE] = { EXIT_PAUSE, INSN_NOP },
	[SVM_HLT] = { EXIT_HLT, INSN_HLT },
	[SVM_IOIO] = { EXIT_IO, 0 },
	[SVM_MSR] = { EXIT_MSR, INSN_RDMSR },
	[SVM_TASK_SWITCH] = { EXIT_TASK, 0 },
	[SVM_SHUTDOWN] = { EXIT_TRIPLE, 0 },
	[SVM_VMMCALL] = { EXIT_HYPERCALL, INSN_VMMCALL },
	[SVM_WBINVD] = { EXIT_CACHE, 0 }, /* invd has it, too */
	[SVM_XSETBV] = { EXIT_XSETBV, INSN_XSETBV },
	[SVM_IDTR_WRITE] = { EXIT_LIDT, INSN_LIDT },
	[SVM_GDTR_WRITE] = { EXIT_LGDT, INSN_LGDT },
	[SVM_LDTR_WRITE] = { EXIT_LLDT, INSN_LLDT },
	[SVM_TR_WRITE] = { EXIT_LTR, INSN_LTR },
	[SVM_RDTSC] = { EXIT_RDTSC, INSN_RDTSC },
	[SVM_RDTSCP] = { EXIT_RDTSC, INSN_RDTSCP },
	[SVM_SWINT] = { EXIT_INT, INSN_INT },
	[SVM_INVLPG] = { EXIT_CACHE, INSN_INVLPG },
};

/*
 * The instruction that made the exit, fetched and decoded once more; NULL: it is not there. The
 * guest may have taken its page away while the CPU's TLB still had it, or put another instruction
 * there, so whoever uses anything of it asks for `op`.
 */
static APART const struct insn *
find_instruction(struct vcpu *v, struct exit *e)
{
	return svm_instruction(v, e);
}

/* An instruction that talks to a port. */
static APART void
is_io(struct vcpu *v, struct exit *e)
{
	/*
	 * EXERCISE 4s.5a: ports
	 * Holds: *e names the port, the width, the direction, and how long the instruction is; of
	 *  a string also whether it repeats, its memory's segment, and how wide addresses are.
	 * Beware: of a string this CPU may tell less than a newer one. The bytes at rip can have
	 *  changed: of another kind or length they are EXIT_OTHER.
	 * Manual: APM 2 "IN and OUT Behavior", "Decode Assists"; APM 3 "INS".
	 * Tools: access_of_error(), find_instruction(), IOIO_IN, IOIO_PORT(), IOIO_REP,
	 *  IOIO_SIZE(), IOIO_STRING of vmm/svm/vmcb.h
	 */
	exercise_todo("4s.5", "handouts/lab4sb.md#ex-4s-5");
	(void)find_instruction;
	(void)v;
	e->reason = EXIT_NONE;
	/* END EXERCISE 4s.5a */
}

/* A move to or from control register `number`, or a debug register. */
static APART void
is_register(struct vcpu *v, struct exit *e, enum exit_reason reason, unsigned number, bool write)
{
	/*
	 * EXERCISE 4s.5b: registers
	 * Holds: *e tells which register is read or written, has its TS cleared, its machine status
	 *  word stored or loaded (its value, too); and which general register a move names.
	 * Beware: this CPU does not tell that one. The bytes at rip can have changed: an
	 *  instruction that makes no such exit of this register's is EXIT_OTHER.
	 * Manual: APM 2 "MOV CRx Intercepts", "CR0 Selective Write"; APM 3 "CLTS", "LMSW",
	 *  "MOV CRn", "SMSW".
	 * Tools: access_ops, exit_reg, find_instruction(), GPR_COUNT of vmm/x86/state.h,
	 *  insn_read_rm()
	 */
	exercise_todo("4s.5", "handouts/lab4sb.md#ex-4s-5");
	(void)v;
	(void)reason;
	(void)number;
	(void)write;
	e->reason = EXIT_NONE;
	/* END EXERCISE 4s.5b */
}

/* An instruction that one intercept of its own has caught: `op`, or of MSRs' two either one. */
static APART void
is_simple(struct vcpu *v, struct exit *e, unsigned op)
{
	/*
	 * EXERCISE 4s.5c: the rest of an instruction
	 * Holds: *e says which instruction it was (insn_op) and how long, whichever it is; and if
	 *  it moves a model-specific register, which one, and whether it writes.
	 * Beware: not every CPU tells where the next instruction begins, and one that does not
	 *  leaves a zero there. The bytes at rip can have changed, here, too.
	 * Manual: APM 2 "State Saved on Exit", "MSR Intercepts".
	 * Tools: insn_name(), svm_has_nrip, svm_must_be() of vmm/svm/svm.h
	 */
	exercise_todo("4s.5", "handouts/lab4sb.md#ex-4s-5");
	(void)v;
	(void)op;
	e->reason = EXIT_NONE;
	/* END EXERCISE 4s.5c */
}

static void
is_nested_fault(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = vmcb_of(v);

	e->reason = EXIT_MMU;
	e->gpa = b->exitinfo2;
	e->error = (uint32_t)b->exitinfo1;
	e->access = access_of_error(e->error) & (ACCESS_WRITE | ACCESS_FETCH);
	e->nested.by_walk = !!(b->exitinfo1 & NPF_WALK);
	e->nested.was_there = !!(e->error & PF_P);
	e->nested.is_bad = !!(e->error & PF_RSVD);
}

/* QEMU 7.2 has the exit code of wbinvd for invd, too. */
static COLD void
is_wbinvd(struct vcpu *v, struct exit *e)
{
	const struct insn *i = svm_has_nrip ? NULL : find_instruction(v, e);

	is_simple(v, e, i && i->op == INSN_INVD ? INSN_INVD : INSN_WBINVD);
}

static COLD void
is_other(struct vcpu *v, struct exit *e, unsigned which)
{
	if (which == SVM_WBINVD)
		is_wbinvd(v, e);
	else if (e->reason == EXIT_NONE) {
		e->reason = EXIT_EXCEPTION;
		e->vector = VEC_UD;
	} else if (e->reason == EXIT_IRQ)
		e->vector = 0; /* still pending; which one it is the host's IDT will see */
}

static inline void
is_intercept(struct vcpu *v, struct exit *e, unsigned which)
{
	e->reason = reasons[which].reason;
	if (reasons[which].insn_op)
		is_simple(v, e, reasons[which].insn_op);
	else if (e->reason == EXIT_IO) {
		e->insn_op = vmcb_of(v)->exitinfo1 & IOIO_IN ? INSN_IN : INSN_OUT;
		is_io(v, e);
	} else
		is_other(v, e, which);
}

void
svm_translate(struct vcpu *v, struct exit *e)
{
	const struct vmcb *b = vmcb_of(v);
	uint32_t code = SVM_EXIT_CODE(b);

	exit_begin(e, EXIT_OTHER, NO_TRAP, 0, b->rip);
	e->raw = code;
	if (code >= SVM_EXIT_FIRST && code < SVM_EXIT_FIRST + sizeof(reasons) / sizeof(*reasons))
		is_intercept(v, e, (unsigned)(code - SVM_EXIT_FIRST));
	else if (code == SVM_EXIT_NPF)
		is_nested_fault(v, e);
	else if (code == SVM_EXIT_INVALID)
		e->reason = EXIT_ENTRY_FAILED;
	else if (code >= SVM_EXIT_EXCEPTION && code < SVM_EXIT_FIRST) {
		e->reason = EXIT_EXCEPTION;
		e->vector = (uint8_t)(code - SVM_EXIT_EXCEPTION);
		e->error = (uint32_t)b->exitinfo1;
		e->gva = b->exitinfo2;
	} else if (code < SVM_EXIT_EXCEPTION) {
		e->reason = code < SVM_EXIT_DR_READ ? EXIT_CR : EXIT_DR;
		is_register(v, e, e->reason, code & 15, code & 0x10);
	}
}

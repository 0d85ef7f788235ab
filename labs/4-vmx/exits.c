/*
 * From what the VMCS says of an exit to words that all engines share: exercise 4.5. The CPU has
 * decoded the instruction: its length and operands are in the VMCS.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/trap.h>
#include <vmm/dispatch.h>
#include <vmm/exits/access.h>
#include <vmm/vmx/vmx.h>
#include <vmm/x86/insn.h>

/* EXERCISE 4.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4.0 */

/* By basic reason; EXIT_NONE: an instruction that this guest's CPU has not. */
static const struct {
	uint8_t reason;
	bool is_qualified;
	uint16_t insn_op; /* 0: no instruction made this exit */
} reasons[VMX_REASONS] = {
	[VMX_EXTERNAL_INTERRUPT] = { EXIT_IRQ, false, 0 },
	[VMX_TRIPLE_FAULT] = { EXIT_TRIPLE, false, 0 },
	[VMX_INIT] = { EXIT_INIT, false, 0 },
	[VMX_IRQ_WINDOW] = { EXIT_WINDOW_IRQ, false, 0 },
	[VMX_NMI_WINDOW] = { EXIT_WINDOW_NMI, false, 0 },
	[VMX_TASK_SWITCH] = { EXIT_TASK, false, 0 },
	[VMX_CPUID] = { EXIT_CPUID, false, INSN_CPUID },
	[VMX_HLT] = { EXIT_HLT, false, INSN_HLT },
	[VMX_INVD] = { EXIT_CACHE, false, INSN_INVD },
	[VMX_VMCALL] = { EXIT_HYPERCALL, false, INSN_VMCALL },
	[VMX_CR] = { EXIT_CR, true, INSN_MOV_TO_CR },
	[VMX_DR] = { EXIT_DR, true, INSN_MOV_TO_DR },
	[VMX_IO] = { EXIT_IO, true, INSN_OUT },
	[VMX_RDMSR] = { EXIT_MSR, false, INSN_RDMSR },
	[VMX_WRMSR] = { EXIT_MSR, false, INSN_WRMSR },
	[VMX_PAUSE] = { EXIT_PAUSE, false, INSN_NOP },
	[VMX_PREEMPTION_TIMER] = { EXIT_IRQ, false, 0 }, /* one waits, or will soon */
	[VMX_WBINVD] = { EXIT_CACHE, false, INSN_WBINVD },
	[VMX_XSETBV] = { EXIT_XSETBV, false, INSN_XSETBV },
	/* Made by no instruction, and by controls that are off: loud. gdb.md has why 37 is. */
	[VMX_SIPI... VMX_SMI] = { EXIT_OTHER, false, 0 },
	[VMX_MONITOR_TRAP] = { EXIT_OTHER, false, 0 },
	[VMX_TPR_BELOW... VMX_VIRTUAL_EOI] = { EXIT_OTHER, false, 0 },
	[VMX_APIC_WRITE] = { EXIT_OTHER, false, 0 },
	[VMX_LOG_FULL] = { EXIT_OTHER, false, 0 },
};

/* An instruction that talks to a port; insn_op says OUT so far. */
static APART void
is_io(struct exit *e)
{
	/*
	 * EXERCISE 4.5a: ports
	 * Holds: *e names the port, the width, the direction, and which instruction it was; of a
	 *  string also whether it repeats, its memory's segment, and the width of its addresses.
	 * Beware: of a string's memory another field tells, and of one direction no segment:
	 *  there's no choice.
	 * Manual: SDM 3C "Exit Qualification for I/O Instructions", "Format of the VM-Exit
	 *  Instruction-Information Field as Used for INS and OUTS"; SDM 2 "INS", "OUTS".
	 * Tools: access_of_error(), EXIT_INSTRUCTION_INFO, IO_ADDRESS_SIZE(), IO_IN, IO_PORT(),
	 *  IO_REP, IO_SEGMENT(), IO_SIZE(), IO_STRING of vmm/vmx/vmcs.h, vmcs_read()
	 */
	exercise_todo("4.5", "handouts/lab4b.md#ex-4-5");
	e->reason = EXIT_NONE;
	/* END EXERCISE 4.5a */
}

/* A move to or from a control register or, as e->reason says, a debug register. */
static APART void
is_register(struct exit *e)
{
	/*
	 * EXERCISE 4.5b: registers
	 * Holds: *e tells which register is read or written, has its TS cleared, or gets its low
	 *  half from lmsw and which half; which general register a move names; and which
	 *  instruction it was.
	 * Beware: two kinds of exit, two tables. Not every bit of a number says something for
	 *  every access.
	 * Manual: SDM 3C "Exit Qualification for Control-Register Accesses", "Exit Qualification
	 *  for MOV DR".
	 * Tools: CR_ACCESS(), CR_GPR(), CR_LMSW_SOURCE(), CR_NUMBER(), DR_NUMBER(), DR_READ,
	 *  exit_reg of vmm/exit.h, IO_SIZE() of vmm/vmx/vmcs.h, REG_CLTS, REG_LMSW, REG_READ,
	 *  REG_WRITE, vmcs_read()
	 */
	exercise_todo("4.5", "handouts/lab4b.md#ex-4-5");
	e->reason = EXIT_NONE;
	/* END EXERCISE 4.5b */
}

/* Any instruction that has made an exit; the rest of it is the others'. */
static APART void
is_simple(struct vcpu *v, struct exit *e, unsigned basic)
{
	/*
	 * EXERCISE 4.5c: the rest of an instruction
	 * Holds: *e says how long the instruction is, whichever it is; and if it moves a
	 *  model-specific register, which one, and whether it writes.
	 * Beware: a prefix belongs to an instruction's length. Not all exits are made by
	 *  instructions, and behind the others the field has what was there before; they do not
	 *  come here.
	 * Manual: SDM 3C "VM-Exit Instruction-Length Field"; SDM 3D "VMX Basic Exit Reasons".
	 * Tools: EXIT_INSTRUCTION_LENGTH, insn_name(), vmcs_read(), VMX_RDMSR, VMX_WRMSR of
	 *  vmm/vmx/vmcs.h
	 */
	exercise_todo("4.5", "handouts/lab4b.md#ex-4-5");
	(void)v;
	(void)basic;
	e->reason = EXIT_NONE;
	/* END EXERCISE 4.5c */
}

static APART void
is_nested_fault(struct exit *e)
{
	uint64_t q = vmcs_read(EXIT_QUALIFICATION);

	e->reason = EXIT_MMU;
	e->gpa = vmcs_read(GUEST_PHYSICAL_ADDRESS);
	e->error = (q & EPT_WRITE ? PF_W : 0) | (q & EPT_FETCH ? PF_I : 0);
	e->access = access_of_error(e->error);
	e->nested.was_there = !!(q & EPT_ALLOWED);
	e->nested.has_linear = !!(q & EPT_HAS_LINEAR);
	e->nested.by_walk = e->nested.has_linear && !(q & EPT_FINAL);
	if (e->nested.has_linear)
		e->nested.linear = vmcs_read(GUEST_LINEAR_ADDRESS);
}

/* No violation: the entry itself is wrong. The CPU tells the address alone. */
static COLD void
is_misconfiguration(struct exit *e)
{
	e->reason = EXIT_MMU;
	e->gpa = vmcs_read(GUEST_PHYSICAL_ADDRESS);
	e->nested.is_bad = true;
}

/* CR2 stays the guest's (SDM 3C 28.1). Without EPT it is Zeno's tables that do not allow it. */
static void
is_page_fault(struct vcpu *v, struct exit *e)
{
	e->gva = vmcs_read(EXIT_QUALIFICATION);
	if (!vmx_of(v)->shadowed)
		return;
	e->reason = EXIT_MMU;
	e->access = access_of_error(e->error);
}

/*
 * Caught are NMIs, #DB and #AC, and all of them while a debugger steps. Of a #DB the qualification
 * says why it comes, and DR6 does not yet (SDM 3C 28.1 and table 28-1); that of int1 says nothing.
 * An NMI stays blocked until an iret, which the host's own handler makes.
 */
static APART void
is_exception(struct vcpu *v, struct exit *e)
{
	uint32_t info = (uint32_t)vmcs_read(EXIT_EVENT);

	if (VMX_EVENT_TYPE(info) == VMX_EVENT_NMI) {
		e->reason = EXIT_IRQ;
		e->vector = VEC_NMI;
		__asm__ volatile("int $2");
		return;
	}
	e->reason = EXIT_EXCEPTION;
	e->vector = (uint8_t)info;
	if (info & VMX_EVENT_HAS_ERROR)
		e->error = (uint32_t)vmcs_read(EXIT_EVENT_ERROR);
	if (e->vector == VEC_PF)
		is_page_fault(v, e);
	if (VMX_EVENT_TYPE(info) == VMX_EVENT_INT1) {
		e->insn_op = INSN_INT1;
		e->insn_len = (uint8_t)vmcs_read(EXIT_INSTRUCTION_LENGTH);
	} else if (e->vector == VEC_DB) {
		v->state.pending_debug = vmcs_read(EXIT_QUALIFICATION) & (DR6_HITS | DR6_BS);
		debug_trap(v, e);
	}
}

static APART void
is_qualified(struct vcpu *v, struct exit *e, unsigned basic)
{
	is_simple(v, e, basic);
	if (e->reason == EXIT_IO)
		is_io(e);
	else
		is_register(e);
}

/* No instruction made this exit; or one that this guest's CPU has not. */
static APART void
is_other(struct vcpu *v, struct exit *e, unsigned basic)
{
	if (basic == VMX_EXCEPTION)
		is_exception(v, e);
	else if (basic == VMX_EPT_VIOLATION)
		is_nested_fault(e);
	else if (basic == VMX_EPT_MISCONFIGURATION)
		is_misconfiguration(e);
	else if (e->reason == EXIT_NONE) {
		e->reason = EXIT_EXCEPTION;
		e->vector = VEC_UD;
	} else if (e->reason == EXIT_IRQ)
		e->vector = 0; /* still pending; which one it is the host's IDT will see */
}

void
vmx_translate(struct vcpu *v, struct exit *e)
{
	uint32_t raw = vmx_of(v)->raw;
	unsigned basic = VMX_REASON_BASIC(raw);

	exit_begin(e, EXIT_OTHER, NO_TRAP, 0, v->state.rip);
	e->raw = raw;
	if (basic >= VMX_REASONS)
		return;
	e->reason = reasons[basic].reason;
	e->insn_op = reasons[basic].insn_op;
	if (reasons[basic].is_qualified)
		is_qualified(v, e, basic);
	else if (e->insn_op)
		is_simple(v, e, basic);
	else
		is_other(v, e, basic);
}

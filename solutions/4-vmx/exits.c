/*
 * From what the VMCS says of an exit to words that all engines share. The CPU has decoded the
 * instruction: its length and operands are in the VMCS.
 */
#include <kern/trap.h>
#include <vmm/dispatch.h>
#include <vmm/mem/access.h>
#include <vmm/vmx/vmx.h>
#include <vmm/x86/insn.h>

/* By basic reason; EXIT_NONE: an instruction that this guest's CPU has not. */
static const struct {
	uint8_t reason;
	uint16_t insn_op; /* 0: no instruction made this exit */
} reasons[VMX_REASONS] = {
	[VMX_EXTERNAL_INTERRUPT] = { EXIT_IRQ, 0 },
	[VMX_TRIPLE_FAULT] = { EXIT_TRIPLE, 0 },
	[VMX_INIT] = { EXIT_INIT, 0 },
	[VMX_IRQ_WINDOW] = { EXIT_WINDOW_IRQ, 0 },
	[VMX_NMI_WINDOW] = { EXIT_WINDOW_NMI, 0 },
	[VMX_TASK_SWITCH] = { EXIT_TASK, 0 },
	[VMX_CPUID] = { EXIT_CPUID, INSN_CPUID },
	[VMX_HLT] = { EXIT_HLT, INSN_HLT },
	[VMX_INVD] = { EXIT_CACHE, INSN_INVD },
	[VMX_VMCALL] = { EXIT_HYPERCALL, INSN_VMCALL },
	[VMX_CR] = { EXIT_CR, INSN_MOV_TO_CR },
	[VMX_DR] = { EXIT_DR, INSN_MOV_TO_DR },
	[VMX_IO] = { EXIT_IO, INSN_OUT },
	[VMX_RDMSR] = { EXIT_MSR, INSN_RDMSR },
	[VMX_WRMSR] = { EXIT_MSR, INSN_WRMSR },
	[VMX_PAUSE] = { EXIT_PAUSE, INSN_NOP },
	[VMX_PREEMPTION_TIMER] = { EXIT_IRQ, 0 }, /* one waits, or will soon */
	[VMX_WBINVD] = { EXIT_CACHE, INSN_WBINVD },
	[VMX_XSETBV] = { EXIT_XSETBV, INSN_XSETBV },
};

/* SDM 3C table 28-5. A string's segment and address size are the instruction's: table 28-13. */
static void
is_io(struct exit *e)
{
	uint64_t q = vmcs_read(EXIT_QUALIFICATION), info;

	e->io.port = IO_PORT(q);
	e->io.size = IO_SIZE(q);
	e->io.in = !!(q & IO_IN);
	e->insn_op = e->io.in ? INSN_IN : INSN_OUT;
	if (!(q & IO_STRING))
		return;
	info = vmcs_read(EXIT_INSTRUCTION_INFO);
	e->insn_op = e->io.in ? INSN_INS : INSN_OUTS;
	e->io.string = true;
	e->io.rep = !!(q & IO_REP);
	e->io.addr_size = IO_ADDRESS_SIZE(info);
	e->io.seg = e->io.in ? SEG_ES : IO_SEGMENT(info);
}

/* SDM 3C table 28-3. The access types are in the order of enum reg_access. */
static void
is_control_register(struct exit *e)
{
	static const uint16_t ops[] = { [REG_WRITE] = INSN_MOV_TO_CR,
					[REG_READ] = INSN_MOV_FROM_CR,
					[REG_CLTS] = INSN_CLTS,
					[REG_LMSW] = INSN_LMSW };
	uint64_t q = vmcs_read(EXIT_QUALIFICATION);

	e->cr.number = (uint8_t)CR_NUMBER(q);
	e->cr.access = (uint8_t)CR_ACCESS(q);
	e->cr.gpr = CR_GPR(q);
	e->cr.value = CR_LMSW_SOURCE(q);
	e->insn_op = ops[e->cr.access];
}

/* SDM 3C table 28-4. */
static void
is_debug_register(struct exit *e)
{
	uint64_t q = vmcs_read(EXIT_QUALIFICATION);

	e->dr.number = (uint8_t)DR_NUMBER(q);
	e->dr.access = q & DR_READ ? REG_READ : REG_WRITE;
	e->dr.gpr = CR_GPR(q);
	if (q & DR_READ)
		e->insn_op = INSN_MOV_FROM_DR;
}

static void
is_nested_fault(struct exit *e)
{
	uint64_t q = vmcs_read(EXIT_QUALIFICATION);

	e->reason = EXIT_MMU;
	e->gpa = vmcs_read(GUEST_PHYSICAL_ADDRESS);
	e->error = (q & EPT_WRITE ? PF_W : 0) | (q & EPT_FETCH ? PF_I : 0);
	e->access = access_of_error(e->error);
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
static void
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

static void
is_instruction(struct vcpu *v, struct exit *e, unsigned basic)
{
	e->reason = reasons[basic].reason;
	e->insn_op = reasons[basic].insn_op;
	if (e->reason == EXIT_NONE) {
		e->reason = EXIT_EXCEPTION;
		e->vector = VEC_UD;
		return;
	}
	if (!e->insn_op)
		return;
	e->insn_len = (uint8_t)vmcs_read(EXIT_INSTRUCTION_LENGTH);
	switch (e->reason) {
	case EXIT_IO:
		is_io(e);
		break;
	case EXIT_CR:
		is_control_register(e);
		break;
	case EXIT_DR:
		is_debug_register(e);
		break;
	case EXIT_MSR:
		e->msr.number = (uint32_t)v->state.gpr[RCX];
		e->msr.write = basic == VMX_WRMSR;
		break;
	default:
		break;
	}
}

void
vmx_translate(struct vcpu *v, struct exit *e)
{
	uint32_t raw = vmx_of(v)->raw;
	unsigned basic = VMX_REASON_BASIC(raw);

	exit_begin(e, EXIT_OTHER, NO_TRAP, 0, v->state.rip);
	e->raw = raw;
	if (basic == VMX_EXCEPTION)
		is_exception(v, e);
	else if (basic == VMX_EPT_VIOLATION)
		is_nested_fault(e);
	else if (basic == VMX_EPT_MISCONFIGURATION)
		panic("an EPT entry for %lx has reserved bits", vmcs_read(GUEST_PHYSICAL_ADDRESS));
	else if (basic < VMX_REASONS)
		is_instruction(v, e, basic);
	if (e->reason == EXIT_IRQ && e->vector == NO_TRAP)
		e->vector = 0; /* still pending; which one it is the host's IDT will see */
}

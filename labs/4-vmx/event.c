/*
 * Events on their way into the guest, and what holds them back: exercise 4.6. The CPU delivers
 * them at VM entry, by the guest's own IDT.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/exitlog.h>
#include <vmm/vmx/vmx.h>

static const uint8_t types[] = {
	[EVENT_FAULT] = VMX_EVENT_EXCEPTION,
	[EVENT_SOFTWARE] = VMX_EVENT_SOFTWARE,
	[EVENT_INTERRUPT] = VMX_EVENT_INTERRUPT,
	[EVENT_NMI] = VMX_EVENT_NMI,
};

/* SDM 3A table 6-1: those whose handler returns to the instruction, which sees RF set then. */
#define FAULTS 0x000b7ce1u

/* EXERCISE 4.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4.0 */

static void
set_primary(struct vcpu *v, uint32_t value)
{
	struct vmx *x = vmx_of(v);

	if (x->primary == value)
		return;
	x->primary = value;
	vmcs_write(PRIMARY_CONTROLS, value);
}

static unsigned
type_of(const struct event *event)
{
	if (event->kind == EVENT_FAULT && event->insn_len)
		return VMX_EVENT_INT1;
	if (event->kind == EVENT_SOFTWARE && (event->vector == VEC_BP || event->vector == VEC_OF))
		return VMX_EVENT_SOFTWARE_EXCEPTION;
	return types[event->kind];
}

/* The engine contract: one event for each entry, and none over another that waits. */
enum injection
vmx_inject(struct vcpu *v, const struct event *event)
{
	/*
	 * EXERCISE 4.6a: inject
	 * Holds: the CPU delivers the event at the next entry, by the guest's IDT; or it is
	 *  refused, and nothing changes but what asks for an NMI.
	 * Beware: one entry has room for one event. A blocked NMI waits for iret. Real mode has no
	 *  error codes. A fault's handler sees RF; shadows are over.
	 * Manual: SDM 3C "VM-Entry Controls for Event Injection", "Injected-Event Delivery",
	 *  "Details of Event Injection".
	 * Tools: ENTRY_EVENT, ENTRY_EVENT_ERROR, ENTRY_EVENT_LENGTH, event_has_error(), FAULTS,
	 *  PRIMARY_NMI_WINDOW, set_primary(), type_of(), vcpu_need(), vmcs_read(), vmcs_write(),
	 *  VMX_EVENT_HAS_ERROR, VMX_EVENT_VALID
	 */
	exercise_todo("4.6", "handouts/lab4b.md#ex-4-6");
	(void)type_of; (void)set_primary;
	(void)exit_stop(v, v->exit, "lab4b.md#ex-4-6",
			"nobody delivers vector %02x", event->vector);
	return ENDED;
	/* END EXERCISE 4.6a */
}

/* An interrupt waits, and the guest does not take it now. */
void
vmx_window(struct vcpu *v)
{
	/*
	 * EXERCISE 4.6b: the window
	 * Holds: the guest exits before the first instruction at which it would take an
	 *  interrupt.
	 * Beware: the controls have other bits, and Zeno keeps what they are.
	 * Manual: SDM 3C "Interrupt-Window Exiting and Virtual-Interrupt Delivery".
	 * Tools: PIN_TIMER, PRIMARY_IRQ_WINDOW of vmm/vmx/vmcs.h, set_primary(), vmx of
	 *  vmm/vmx/vmx.h
	 */
	exercise_todo("4.6", "handouts/lab4b.md#ex-4-6");
	(void)v;
	/* END EXERCISE 4.6b */
}

/* Before an entry: the field "interruptibility state". */
uint32_t
vmx_interruptibility(const struct cpu_state *s)
{
	/*
	 * EXERCISE 4.6c: what holds interrupts back
	 * Holds: behind sti and behind mov ss the CPU takes no interrupt before the end of the
	 *  next instruction, also if Zeno has done the one before; and an NMI waits while one is
	 *  being handled.
	 * Beware: the state may say what no VM entry takes, both of the first two for one.
	 * Manual: SDM 3C "Guest Non-Register State", "Checks on Guest Non-Register State".
	 * Tools: SHADOW_MOV_SS, SHADOW_NMI, SHADOW_SMI, SHADOW_STI of vmm/vmx/vmcs.h
	 */
	exercise_todo("4.6", "handouts/lab4b.md#ex-4-6");
	(void)s;
	return 0;
	/* END EXERCISE 4.6c */
}

/* Behind each exit: what the CPU did not bring to its end. */
void
vmx_take_back(struct vcpu *v)
{
	/*
	 * EXERCISE 4.6d: take back
	 * Holds: an event whose delivery an exit has interrupted is the state's event again; what
	 *  an instruction asked for (int n, int3, into, int1) is not, for its instruction comes
	 *  again. Nothing is left of a window.
	 * Beware: the error code belongs to the event, in a field of its own. An NMI whose handler
	 *  has not begun blocks no other.
	 * Manual: SDM 3C "Information for VM Exits That Occur During Event Delivery".
	 * Tools: event_raise(), PRIMARY_IRQ_WINDOW, PRIMARY_NMI_WINDOW, set_primary(), types,
	 *  VECTORING_EVENT_ERROR, vmcs_read(), VMX_EVENT_HAS_ERROR, VMX_EVENT_TYPE(),
	 *  VMX_EVENT_VALID
	 */
	exercise_todo("4.6", "handouts/lab4b.md#ex-4-6");
	(void)v;
	/* END EXERCISE 4.6d */
}

int
vmx_injected(struct vcpu *v)
{
	uint32_t info = (uint32_t)vmcs_read(ENTRY_EVENT);

	return info & VMX_EVENT_VALID ? (int)(info & 0xff) : -1;
}

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
	 * Hint: how do you see that the CPU has not yet had what the last call gave it?
	 * Hint: the CPU reads a label of 32 bits: whom, what kind, is there something inside, and
	 *  the flag that makes it be sent at all. What is inside, and how far the handler is to
	 *  return, have fields of their own.
	 * Hint: on AMD-V one number of 64 bits has all of it, the error code in its upper half;
	 *  of an instruction's length it knows nothing: there rip is moved on before.
	 * until then: (void)type_of; (void)set_primary;
	 * until then: (void)exit_stop(v, v->exit, "lab4b.md#ex-4-6",
	 * until then: 		"nobody delivers vector %02x", event->vector);
	 * until then: return ENDED;
	 */
	uint32_t info = VMX_EVENT_VALID | type_of(event) << 8 | event->vector;
	uint64_t cr0;

	if (vmcs_read(ENTRY_EVENT) & VMX_EVENT_VALID)
		return REFUSED;
	if (event->kind == EVENT_NMI && v->state.nmi_blocked) {
		set_primary(v, vmx_of(v)->primary | PRIMARY_NMI_WINDOW);
		return REFUSED;
	}
	vcpu_need(v, STATE_CR);
	cr0 = v->state.cr0;
	if (event->has_error && cr0 & CR0_PE) {
		info |= VMX_EVENT_HAS_ERROR;
		vmcs_write(ENTRY_EVENT_ERROR, event->error);
	}
	if (event->insn_len)
		vmcs_write(ENTRY_EVENT_LENGTH, event->insn_len);
	vmcs_write(ENTRY_EVENT, info);
	if (event->kind == EVENT_FAULT && event->vector < 32 && FAULTS >> event->vector & 1)
		v->state.rflags |= FLAG_RF;
	v->state.sti_shadow = v->state.mov_ss_shadow = false;
	return INJECTED;
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
	 * Hint: who knows first that the guest's IF has become 1 and sti's shadow is over?
	 * Hint: a bell on a door: it rings when the door opens, and as long as it hangs there,
	 *  each time.
	 * Hint: on AMD-V there is no such bell. One leans a stick against the door, a virtual
	 *  interrupt that is never meant to come in, and an intercept hears it fall.
	 * until then: (void)v;
	 */
	set_primary(v, vmx_of(v)->primary | PRIMARY_IRQ_WINDOW);
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
	 * Hint: which of the two holds back more?
	 * Hint: two signs "do not disturb" on one door: one of them will do, if it is the one that
	 *  says more.
	 * Hint: on AMD-V there is one bit for both, and of NMIs the CPU of the guest's time knows
	 *  nothing: whether one is handled the hypervisor finds out by an intercept of iret.
	 * until then: (void)s; return 0;
	 */
	uint32_t sti = s->sti_shadow && s->rflags & FLAG_IF ? SHADOW_STI : 0;

	return (s->mov_ss_shadow ? SHADOW_MOV_SS : sti) | (s->nmi_blocked ? SHADOW_NMI : 0);
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
	 * Hint: the CPU was carrying something to the guest, and an exit came. run() of
	 *  vmm/vmx/vmx.c has kept the label.
	 * Hint: a parcel that could not be delivered comes back with its label. Read the label as
	 *  you wrote it, from the same table the other way round.
	 * Hint: on AMD-V it would be 0x8000030e in the low half of EXITINTINFO and 2 in the high
	 *  one: a page fault, exception 0e, without the bit for an error code. There the CPU had
	 *  stopped before it knew one.
	 * until then: (void)v;
	 */
	struct vmx *x = vmx_of(v);
	uint32_t info = x->vectoring;
	struct event event = { .vector = (uint8_t)info };

	set_primary(v, x->primary & ~(PRIMARY_IRQ_WINDOW | PRIMARY_NMI_WINDOW));
	if (!(info & VMX_EVENT_VALID))
		return;
	if (info & VMX_EVENT_HAS_ERROR) {
		event.has_error = true;
		event.error = (uint32_t)vmcs_read(VECTORING_EVENT_ERROR);
	}
	for (unsigned kind = EVENT_FAULT; kind < sizeof(types); kind++)
		if (types[kind] == VMX_EVENT_TYPE(info) && kind != EVENT_SOFTWARE)
			event.kind = (uint8_t)kind;
	if (event.kind == EVENT_NMI)
		v->state.nmi_blocked = false;
	v->state.event = event;
	/* END EXERCISE 4.6d */
}

int
vmx_injected(struct vcpu *v)
{
	uint32_t info = (uint32_t)vmcs_read(ENTRY_EVENT);

	return info & VMX_EVENT_VALID ? (int)(info & 0xff) : -1;
}

/*
 * Events on their way into the guest: the CPU delivers them at VM entry, by the guest's own IDT.
 */
#include <vmm/vmx/vmx.h>

static const uint8_t types[] = {
	[EVENT_FAULT] = VMX_EVENT_EXCEPTION,
	[EVENT_SOFTWARE] = VMX_EVENT_SOFTWARE,
	[EVENT_INTERRUPT] = VMX_EVENT_INTERRUPT,
	[EVENT_NMI] = VMX_EVENT_NMI,
};

/* SDM 3A table 6-1: those whose handler returns to the instruction, which sees RF set then. */
#define FAULTS 0x000b7ce1u

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

/*
 * The engine contract: one event for each entry, and none over another that waits. The CPU takes
 * the rip behind a software interrupt from the instruction's length (SDM 3C 27.6.1.1), and sets no
 * RF for a fault: 25.8.3, table 25-17.
 */
enum injection
vmx_inject(struct vcpu *v, const struct event *event)
{
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
	if (event->has_error && cr0 & CR0_PE) { /* SDM 3C 27.2.1.3: none in real mode */
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
}

/* SDM 3C 26.2: an exit before the first instruction at whose start the guest takes interrupts. */
void
vmx_window(struct vcpu *v)
{
	set_primary(v, vmx_of(v)->primary | PRIMARY_IRQ_WINDOW);
}

/* SDM 3C 25.9.3, 28.2.4: an exit in the middle of a delivery leaves the event here. */
void
vmx_take_back(struct vcpu *v)
{
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
	/* An instruction that asked for it (int n, int3, into, int1) is at rip, and asks again. */
	for (unsigned kind = EVENT_FAULT; kind < sizeof(types); kind++)
		if (types[kind] == VMX_EVENT_TYPE(info) && kind != EVENT_SOFTWARE)
			event.kind = (uint8_t)kind;
	if (event.kind == EVENT_NMI)
		v->state.nmi_blocked = false; /* its handler has not begun */
	v->state.event = event;
}

int
vmx_injected(struct vcpu *v)
{
	uint32_t info = (uint32_t)vmcs_read(ENTRY_EVENT);

	return info & VMX_EVENT_VALID ? (int)(info & 0xff) : -1;
}

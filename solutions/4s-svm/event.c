/*
 * Events on their way into the guest, and what holds them back: exercise 4s.6. The CPU delivers
 * them at VMRUN, by the guest's own IDT.
 *
 * APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.
 */
#include <vmm/exitlog.h>
#include <vmm/svm/svm.h>

static const uint8_t types[] = {
	[EVENT_FAULT] = SVM_EVENT_EXCEPTION,
	[EVENT_SOFTWARE] = SVM_EVENT_SOFTWARE,
	[EVENT_INTERRUPT] = SVM_EVENT_INTERRUPT,
	[EVENT_NMI] = SVM_EVENT_NMI,
};

/* EXERCISE 4s.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 4s.0 */

enum injection
svm_inject(struct vcpu *v, const struct event *event)
{
	/*
	 * EXERCISE 4s.6a: inject
	 * Holds: the CPU delivers the event at the next entry, by the guest's own IDT; or the
	 *  event is refused, and nothing has changed.
	 * Beware: one entry has room for one event. The handler of int n, int3, into and int1
	 *  returns insn_len bytes behind rip; a delivered event ends what held interrupts back.
	 * Manual: APM 2 "Event Injection", "Software Interrupts".
	 * Tools: event_has_error(), SVM_EVENT_HAS_ERROR, SVM_EVENT_VALID, types
	 * Hint: how do you see that the CPU has not yet had what the last call gave it?
	 * Hint: the CPU reads one number of 64 bits, like a parcel's label: whom, what kind, is
	 *  there something inside, and the flag that makes it be sent at all.
	 * Hint: #DF, which is an exception with vector 8 and the error code 0, would be
	 *  0x0000000080000b08: which of its bits are which of the event's fields?
	 * until then: (void)types;
	 * until then: (void)exit_stop(v, v->exit, "lab4sb.md#ex-4s-6",
	 * until then: 		"nobody delivers vector %02x", event->vector);
	 * until then: return ENDED;
	 */
	struct vmcb *b = vmcb_of(v);

	if (b->eventinj & SVM_EVENT_VALID)
		return REFUSED;
	b->eventinj = SVM_EVENT_VALID | (uint64_t)types[event->kind] << 8 | event->vector;
	if (event->has_error)
		b->eventinj |= SVM_EVENT_HAS_ERROR | (uint64_t)event->error << 32;
	v->state.rip += event->insn_len;
	v->state.sti_shadow = v->state.mov_ss_shadow = false;
	return INJECTED;
	/* END EXERCISE 4s.6a */
}

/* An interrupt waits, and the guest does not take it now. */
void
svm_window(struct vcpu *v)
{
	/*
	 * EXERCISE 4s.6b: the window
	 * Holds: the guest exits as soon as it would take an interrupt, whatever its priority,
	 *  and no sooner.
	 * Beware: nothing may be delivered by this: the guest's handler would see a vector that
	 *  no device has raised.
	 * Manual: APM 2 "Virtual Interrupts", "VINTR intercept".
	 * Tools: SVM_VINTR, TLB_CONTROL_FLUSH_ALL, VINTR_IGN_TPR, VINTR_IRQ, VINTR_PRIO of
	 *  vmm/svm/vmcb.h
	 * Hint: who knows first that the guest's IF has become 1 and sti's shadow is over?
	 * Hint: somebody who waits for the door to open leans a stick against it. The stick is not
	 *  meant to go in; it falls when the door opens, and that is heard.
	 * Hint: on VT-x there is a control for just this, "interrupt-window exiting", one bit, and
	 *  nothing is offered to the guest.
	 * until then: (void)v;
	 */
	struct vmcb *b = vmcb_of(v);

	b->vintr |= VINTR_IRQ | VINTR_PRIO | VINTR_IGN_TPR;
	b->intercepts[0] |= 1u << SVM_VINTR;
	/* END EXERCISE 4s.6b */
}

/* Before each entry. */
void
svm_sti_shadow_to_vmcb(struct vcpu *v)
{
	/*
	 * EXERCISE 4s.6c: what holds interrupts back
	 * Holds: behind sti and behind mov ss the CPU takes no interrupt before the end of the
	 *  next instruction, also if Zeno has done the one before.
	 * Beware: the state has two of these, and the VMCB one.
	 * Manual: APM 2 "Interrupt Shadows".
	 * Tools: cpu_state, vcpu_changed() of vmm/vcpu.h
	 * Hint: which of the two does the CPU have to hear of?
	 * Hint: two signs "do not disturb" on one door: how many must hang there for the guest to
	 *  be left alone?
	 * Hint: VT-x has a bit for each in its interruptibility state, and they go there one by
	 *  one; both at the same time are refused.
	 * until then: (void)v;
	 */
	vmcb_of(v)->interrupt_shadow = v->state.sti_shadow || v->state.mov_ss_shadow;
	/* END EXERCISE 4s.6c */
}

/* Behind each exit: what held interrupts back there, and what the CPU did not bring to its end. */
void
svm_take_back(struct vcpu *v)
{
	/*
	 * EXERCISE 4s.6d: take back
	 * Holds: the state says whether interrupts are held back at this rip. An event whose
	 *  delivery an exit has interrupted is the state's event again, to be delivered once
	 *  more; int n is not, for its instruction comes again (int3 and into, exceptions for
	 *  the CPU, may be). Nothing is left of a window or of an injection.
	 * Beware: the error code belongs to the event.
	 * Manual: APM 2 "Intercepts During IDT Interrupt Delivery", "Interrupt Shadows".
	 * Tools: event_raise(), SVM_EVENT_HAS_ERROR, SVM_EVENT_TYPE(), SVM_EVENT_VALID, types
	 * Hint: the CPU was carrying something to the guest, and an exit came. Where has it put
	 *  it down?
	 * Hint: a parcel that could not be delivered comes back with its label. Read the label as
	 *  you wrote it, from the same table the other way round.
	 * Hint: 0x8000030e in the low half and 2 in the high one: a page fault, exception 0e,
	 *  without the bit for an error code. There the CPU had stopped before it knew one.
	 * until then: vmcb_of(v)->eventinj = 0;
	 */
	struct vmcb *b = vmcb_of(v);
	uint64_t info = b->exitintinfo;

	v->state.sti_shadow = b->interrupt_shadow & 1;
	v->state.mov_ss_shadow = false;
	b->eventinj = 0;
	b->vintr &= ~(VINTR_IRQ | VINTR_PRIO | VINTR_IGN_TPR);
	b->intercepts[0] &= ~(1u << SVM_VINTR);
	if (!(info & SVM_EVENT_VALID) || SVM_EVENT_TYPE(info) == SVM_EVENT_SOFTWARE)
		return;
	v->state.event = (struct event){ .vector = (uint8_t)info,
					 .has_error = !!(info & SVM_EVENT_HAS_ERROR),
					 .error = (uint32_t)(info >> 32) };
	for (unsigned kind = EVENT_FAULT; kind < sizeof(types); kind++)
		if (types[kind] == SVM_EVENT_TYPE(info))
			v->state.event.kind = (uint8_t)kind;
	/* END EXERCISE 4s.6d */
}

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
	 */
	exercise_todo("4s.6", "handouts/lab4sb.md#ex-4s-6");
	(void)types;
	(void)exit_stop(v, v->exit, "lab4sb.md#ex-4s-6",
			"nobody delivers vector %02x", event->vector);
	return ENDED;
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
	 */
	exercise_todo("4s.6", "handouts/lab4sb.md#ex-4s-6");
	(void)v;
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
	 */
	exercise_todo("4s.6", "handouts/lab4sb.md#ex-4s-6");
	(void)v;
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
	 */
	exercise_todo("4s.6", "handouts/lab4sb.md#ex-4s-6");
	vmcb_of(v)->eventinj = 0;
	/* END EXERCISE 4s.6d */
}

/*
 * Events on their way into the guest: the CPU delivers them at VMRUN, by the guest's own IDT.
 */
#include <vmm/svm/svm.h>

static const uint8_t types[] = {
	[EVENT_FAULT] = SVM_EVENT_EXCEPTION,
	[EVENT_SOFTWARE] = SVM_EVENT_SOFTWARE,
	[EVENT_INTERRUPT] = SVM_EVENT_INTERRUPT,
	[EVENT_NMI] = SVM_EVENT_NMI,
};

/*
 * The engine contract: one event for each entry, and none over another that waits. Those of an
 * instruction push the rip behind it, which the VMCB must have then (APM 2 15.20, NRIPS aside).
 */
enum injection
svm_inject(struct vcpu *v, const struct event *event)
{
	struct vmcb *b = svm_of(v)->vmcb;

	if (b->eventinj & SVM_EVENT_VALID)
		return REFUSED;
	b->eventinj = SVM_EVENT_VALID | (uint64_t)types[event->kind] << 8 | event->vector;
	if (event->has_error)
		b->eventinj |= SVM_EVENT_HAS_ERROR | (uint64_t)event->error << 32;
	v->state.rip += event->insn_len;
	v->state.sti_shadow = v->state.mov_ss_shadow = false;
	return INJECTED;
}

/* A virtual interrupt that is never delivered: the guest would take it, and that is an exit. */
void
svm_window(struct vcpu *v)
{
	struct vmcb *b = svm_of(v)->vmcb;

	b->vintr |= VINTR_IRQ | VINTR_PRIO | VINTR_IGN_TPR;
	b->intercepts[0] |= 1u << SVM_VINTR;
}

/* APM 2 15.7.2, 15.20: an exit in the middle of a delivery leaves the event in EXITINTINFO. */
void
svm_take_back(struct vcpu *v)
{
	struct vmcb *b = svm_of(v)->vmcb;
	uint64_t info = b->exitintinfo;

	b->eventinj = 0;
	b->vintr &= ~(VINTR_IRQ | VINTR_PRIO | VINTR_IGN_TPR);
	b->intercepts[0] &= ~(1u << SVM_VINTR);
	if (!(info & SVM_EVENT_VALID))
		return;
	v->state.event = (struct event){ .vector = (uint8_t)info,
					 .has_error = !!(info & SVM_EVENT_HAS_ERROR),
					 .error = (uint32_t)(info >> 32) };
	for (unsigned kind = EVENT_FAULT; kind < sizeof(types); kind++)
		if (types[kind] == SVM_EVENT_TYPE(info))
			v->state.event.kind = (uint8_t)kind;
	if (v->state.event.kind == EVENT_SOFTWARE) /* the instruction asks once more */
		v->state.event.kind = EVENT_NONE;
}

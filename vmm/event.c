/*
 * Events on their way to the guest: raised by handlers, combined where one meets another, offered
 * to the engine.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <kern/thread.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/vcpu.h>

/* SDM 3A table 6-4 "Interrupt and Exception Classes". */
static bool
is_contributory(unsigned vector)
{
	return vector == VEC_DE || (vector >= VEC_TS && vector <= VEC_GP);
}

/* Interrupts and int n are benign, whatever their vector. */
bool
event_is_double(enum event_kind kind, unsigned first, unsigned second)
{
	bool twice = is_contributory(second) || second == VEC_PF;

	if (kind != EVENT_FAULT)
		return false;
	return (is_contributory(first) && is_contributory(second)) || (first == VEC_PF && twice);
}

static COLD enum verdict
raise_on_top(struct vcpu *v, struct event event)
{
	const struct event first = v->state.event;

	if (first.kind == EVENT_FAULT && first.vector == VEC_DF && event.kind == EVENT_FAULT) {
		v->domain->reset = true;
		return exit_stop(v, v->exit, "lab1b.md#triple", "triple fault: %s, then %s(%x)",
				 vector_short(first.vector), vector_short(event.vector),
				 event.error);
	}
	if (event.kind == EVENT_FAULT && event_is_double(first.kind, first.vector, event.vector))
		event = (struct event){ .kind = EVENT_FAULT, .vector = VEC_DF, .has_error = true };
	v->state.event = event;
	return FAULTED;
}

enum verdict
event_raise(struct vcpu *v, struct event event)
{
	if (v->state.event.kind)
		return raise_on_top(v, event);
	v->state.event = event;
	return FAULTED;
}

enum verdict
event_fault(struct vcpu *v, unsigned vector, uint32_t error)
{
	return event_raise(v, (struct event){ .kind = EVENT_FAULT,
					      .vector = (uint8_t)vector,
					      .has_error = event_has_error(vector),
					      .error = error });
}

enum verdict
event_page_fault(struct vcpu *v)
{
	v->page_fault.pending = false;
	vcpu_need(v, STATE_CR);
	v->state.cr2 = v->page_fault.address;
	vcpu_changed(v, STATE_CR);
	return event_fault(v, VEC_PF, v->page_fault.error);
}

enum verdict
event_inject(struct vcpu *v)
{
	enum injection said = v->engine->inject(v, &v->state.event);

	v->special = true;
	if (said == ENDED)
		return STOP;
	if (said == REFUSED && v->state.event.kind == EVENT_NMI)
		v->signals |= SIGNAL_NMI; /* there no fault takes its place */
	else if (said == REFUSED)
		return RESUME;
	v->state.event.kind = EVENT_NONE;
	return RESUME;
}

enum verdict
event_debug(struct vcpu *v, uint8_t insn_len)
{
	vcpu_need(v, STATE_DR);
	vcpu_changed(v, STATE_DR);
	v->state.dr[7] &= ~DR7_GD;
	return event_raise(
		v, (struct event){ .kind = EVENT_FAULT, .vector = VEC_DB, .insn_len = insn_len });
}

/*
 * An exception of the guest's own code, with the vector and error code of the exit. #DB and #AC may
 * be raised by their own delivery, for ever, and either comes before an interrupt (SDM 3A 6.9, APM
 * 2 8.5): then the guest is entered, and never runs. The host's interrupts are let in here.
 */
static enum verdict
exit_exception(struct vcpu *v, struct exit *e)
{
	bool software = e->vector == VEC_BP || e->vector == VEC_OF;

	if (e->vector == VEC_DB || e->vector == VEC_AC)
		preempt_point();
	if (e->vector == VEC_DB)
		return event_debug(v, e->insn_len); /* which only int1 has */
	if (e->vector == VEC_PF) {
		v->page_fault = (struct page_fault){ e->gva, e->error, true };
		return event_page_fault(v);
	}
	if (!software)
		return event_fault(v, e->vector, e->error);
	return event_raise(v, (struct event){ .kind = EVENT_SOFTWARE,
					      .vector = e->vector,
					      .insn_len = e->insn_len });
}
EXIT_HANDLER(EXCEPTION, NULL, exit_exception);

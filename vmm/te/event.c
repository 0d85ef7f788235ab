/*
 * Exceptions, software interrupts and interrupts on their way to the guest: which one it is, and
 * what becomes of a fault that is met on the way.
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/te/te.h>

/* SDM 3A table 6-5: the second fault comes on top of the first, or both are one #DF. */
static struct te_event
after_fault(const struct te_event *first, const struct emu_fault *second)
{
	struct te_event next = { .vector = second->vector,
				 .kind = EVENT_FAULT,
				 .has_error = second->has_error,
				 .error = second->error,
				 .rip = first->fault_rip,
				 .fault_rip = first->fault_rip };

	if (event_is_double(first->kind, first->vector, second->vector)) {
		next.vector = VEC_DF;
		next.has_error = true;
		next.error = 0;
	}
	return next;
}

static const char *
event_name(const struct te_event *event, char buf[16])
{
	if (event->kind == EVENT_FAULT || event->vector == VEC_BP || event->vector == VEC_OF)
		return vector_short(event->vector);
	snprintf(buf, 16, "vector %02x", event->vector);
	return buf;
}

/*
 * A delivery reads descriptor tables and the TSS. If they are not mapped, that is the fault,
 * whatever the reader made of it; CR2 has it even if it ends in another one.
 */
static void
take_page_fault(struct vcpu *v, struct emu_fault *fault)
{
	if (v->page_fault.pending)
		*fault = (struct emu_fault){ .vector = VEC_PF,
					     .has_error = true,
					     .error = v->page_fault.error,
					     .address = v->page_fault.address };
	v->page_fault.pending = false;
	if (fault->vector == VEC_PF)
		v->state.cr2 = fault->address;
}

/* 0: it has come to its handler. */
static int
deliver(struct vcpu *v, const struct te_event *event, struct te_access *access,
	struct emu_fault *fault)
{
	struct te_saved before;
	int err;

	te_save(v, &before);
	if (event->kind == EVENT_SOFTWARE) /* the int itself may have faulted in ring 1 */
		v->state.rflags &= ~(uint64_t)FLAG_RF;
	err = te_deliver_once(v, event, access, fault);
	if (err) {
		te_restore(v, &before);
		return err;
	}
	te_cpl_changed(v);
	/* A handler begins without a step, and a fault's instruction has not come to its traps. */
	v->state.pending_debug &= event->kind == EVENT_SOFTWARE ? DR6_HITS : 0;
	v->state.sti_shadow = v->state.mov_ss_shadow = false;
	exit_effect(v, EFFECT_DELIVER, event->vector, v->state.rip);
	return 0;
}

/* What becomes of an event that met *fault on its way: one fault after the other, to the third. */
static COLD enum verdict
deliver_fault(struct vcpu *v, const struct exit *exit, const struct te_event *first,
	      struct te_access access, struct emu_fault fault)
{
	struct te_event event = *first;
	struct exit at = *exit; /* for the line that ends the guest: it names the event alone */
	char chain[80], name[16];
	size_t used = snprintf(chain, sizeof(chain), "%s", event_name(first, name));

	if (first->kind == EVENT_FAULT) {
		at.vector = first->vector;
		at.error = first->error;
	}
	do {
		unsigned was = event.vector;

		take_page_fault(v, &fault);
		if (access.hit_window) /* its kernel's stack lies there, whoever is to leave */
			return exit_stop(v, &at, LAB_1A "#window",
					 "it reached for the VMM window at %08lx",
					 v->domain->window);
		used += snprintf(chain + used, sizeof(chain) - used, ", then %s(%x)",
				 vector_short(fault.vector), fault.error);
		if (was == VEC_DF && event.kind == EVENT_FAULT) {
			v->domain->reset = true;
			return exit_stop(v, &at, LAB_1B "#triple", "triple fault: %s", chain);
		}
		event = after_fault(&event, &fault);
		access = (struct te_access){ .v = v };
	} while (deliver(v, &event, &access, &fault));
	return RESUME;
}

/*
 * Brings an event to the guest's own handler. RESUME, or STOP if that ended in a triple fault: a
 * bare machine would reset, so the domain ends, with the chain of faults in words.
 */
enum verdict
te_deliver(struct vcpu *v, const struct exit *e, const struct te_event *event)
{
	struct te_access access = { .v = v };
	struct emu_fault fault;

	return deliver(v, event, &access, &fault) ? deliver_fault(v, e, event, access, fault)
						  : RESUME;
}

/* The engine contract (vmm/engine.h): te delivers on the spot, and so refuses nothing. */
enum injection
te_inject(struct vcpu *v, const struct event *event)
{
	struct te_event one = { .vector = event->vector,
				.kind = event->kind,
				.has_error = event->has_error,
				.error = event->error,
				.rip = (uint32_t)(v->state.rip + event->insn_len),
				.fault_rip = v->state.rip };

	if (event->kind == EVENT_INTERRUPT)
		return te_interrupt(v, event->vector) == RESUME ? INJECTED : ENDED;
	return te_deliver(v, v->exit, &one) == RESUME ? INJECTED : ENDED;
}

static enum verdict
exit_int(struct vcpu *v, struct exit *e)
{
	return event_raise(v, (struct event){ .kind = EVENT_SOFTWARE,
					      .vector = te_insn(v)->imm & 0xff,
					      .insn_len = e->insn_len });
}
EXIT_HANDLER(INT, "te", exit_int);

/*
 * Exit handlers for any engine: what an exit means, from what *e says of it and from the state alone. An engine's own
 * handler goes before one of these (dispatch.c).
 *
 * SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.
 */
#include <vmm/dispatch.h>
#include <vmm/event.h>
#include <vmm/vcpu.h>

/* An exception of the guest's own code, with the vector and error code of the exit. */
static enum verdict
exit_exception(struct vcpu *v, struct exit *e)
{
	bool software = e->vector == VEC_BP || e->vector == VEC_OF;

	if (!software)
		return event_fault(v, e->vector, e->error);
	return event_raise(v, (struct event){ .kind = EVENT_SOFTWARE,
					      .vector = e->vector,
					      .insn_len = e->insn_len });
}
EXIT_HANDLER(EXCEPTION, NULL, exit_exception);

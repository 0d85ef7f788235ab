/*
 * What comes to the guest's own handlers: exceptions, events, its user's syscall. The frame that
 * they find is made by pv_frame() (Lab 6).
 */
#include <vmm/exitlog.h>
#include <vmm/pv/pv.h>

/* Into its code at `to`, which has to be there, and room for a frame. */
static INLINED enum injection
to_callback(struct vcpu *v, uint64_t to, bool masks, const char *what)
{
	const struct pv *pv = pv_of(v);

	if (to && pv_is_guests(to, 1) && pv_frame(v, PV_EVENT, NULL, to, masks))
		return INJECTED;
	domain_stop(v->domain, "%s below %lx, or none to run at %lx; see handouts/pv.md#ends", what,
		    pv->user ? pv->kernel_sp : v->state.gpr[RSP], to);
	return ENDED;
}

/* The interrupt of this machine, if it still is one: its kernel may have masked it meanwhile. */
static enum injection
upcall(struct vcpu *v)
{
	const struct pv *pv = pv_of(v);

	v->irq_pending = false;
	if (!pv_upcall_is_due(pv))
		return INJECTED;
	return to_callback(v, pv->event_callback, true,
			   "an event, and there is no memory for its callback's frame");
}

/*
 * Where it has said by callback_op or, as another vCPU's context does, by its handlers; without
 * either nobody hears it. The next one comes behind its iret.
 */
static COLD enum injection
nmi(struct vcpu *v)
{
	const struct pv *pv = pv_of(v);
	const struct xen_trap_info *t = &pv->traps[VEC_NMI];
	bool called = pv->nmi_callback, masks = called || t->flags & XEN_TRAP_MASKS;
	uint64_t to = called ? pv->nmi_callback : t->address;

	if (v->state.nmi_blocked)
		return REFUSED;
	if (!to)
		return INJECTED;
	v->state.nmi_blocked = true;
	return to_callback(v, to, masks, "an NMI, and there is no memory for its handler's frame");
}

enum injection
pv_bounce(struct vcpu *v, const struct event *event)
{
	struct pv *pv = pv_of(v);
	const struct xen_trap_info *t = &pv->traps[event->vector];
	const char *name = vector_short(event->vector);

	if (event->kind == EVENT_INTERRUPT)
		return upcall(v);
	if (event->kind == EVENT_NMI)
		return nmi(v);
	if (event->vector == VEC_PF)
		pv->info->cr2 = v->state.cr2;
	v->state.rip += event->insn_len;                 /* of int n: it has been done */
	if (!t->address || !pv_is_guests(t->address, 1)) /* its cs means nothing, as Xen has it */
		exit_stop(v, v->exit, "pv.md#ends", "%s, for which it has %s", name,
			  t->address ? "a handler where none can be" : "no handler");
	else if (!pv_frame(v, PV_EXCEPTION, event, t->address, t->flags & XEN_TRAP_MASKS))
		exit_stop(v, v->exit, "pv.md#ends",
			  "%s, and there is no memory for its handler's frame below %lx", name,
			  pv->user ? pv->kernel_sp : v->state.gpr[RSP]);
	else
		return INJECTED;
	return ENDED;
}

/*
 * `syscall` by the guest's user is its kernel's to answer; one that takes none has no such thing.
 */
enum verdict
pv_bounce_syscall(struct vcpu *v, struct exit *e)
{
	const struct pv *pv = pv_of(v);

	if (!pv->syscall_callback)
		return event_fault(v, VEC_UD, 0);
	v->state.rip += PV_INSN;
	if (pv_is_guests(pv->syscall_callback, 1) &&
	    pv_frame(v, PV_CALLED, NULL, pv->syscall_callback,
		     pv->callback_masks >> XEN_CALLBACKTYPE_syscall & 1))
		return RESUME;
	return exit_stop(v, e, "pv.md#ends",
			 "its user's syscall, and there is no memory for the frame below %lx, or "
			 "none to run at %lx",
			 pv->kernel_sp, pv->syscall_callback);
}
EXIT_HANDLER(SYSCALL, "pv", pv_bounce_syscall);

/* `int n`: the guest's table says who may. Else it is the #GP that the CPU has raised. */
static enum verdict
exit_int(struct vcpu *v, struct exit *e)
{
	unsigned level = pv_of(v)->traps[e->vector].flags & XEN_TRAP_LEVEL;

	if (level < (pv_of(v)->user ? 3 : 1))
		return event_fault(v, VEC_GP, e->error);
	return event_raise(
		v,
		(struct event){ .kind = EVENT_SOFTWARE, .vector = e->vector, .insn_len = PV_INSN });
}
EXIT_HANDLER(INT, "pv", exit_int);

int64_t
pv_call_set_trap_table(struct vcpu *v, struct pv_call *c)
{
	struct xen_trap_info t;

	if (!c->arg[0]) {
		memset(pv_of(v)->traps, 0, PAGE_SIZE);
		return 0;
	}
	pv_charge(&c->budget, 1024);
	for (unsigned n = 0; n < 256; n++, c->arg[0] += sizeof(t)) {
		int err = pv_read(v, &t, c->arg[0], sizeof(t));

		if (err || !t.address)
			return err;
		pv_of(v)->traps[t.vector] = t;
	}
	c->again = true;
	return 0;
}

int64_t
pv_call_stack_switch(struct vcpu *v, struct pv_call *c)
{
	pv_of(v)->kernel_sp = c->arg[1]; /* its SS is the one that there is */
	return 0;
}

/*
 * A data segment of the guest's that can't be loaded any more: its failsafe callback finds those
 * that it wanted, and the registers null. Without one it is a #GP.
 */
static enum verdict
exit_segment(struct vcpu *v, struct exit *e)
{
	struct pv *pv = pv_of(v);
	bool good = pv_is_guests(pv->failsafe_callback, 1) &&
		    pv_frame(v, PV_FAILSAFE, NULL, pv->failsafe_callback,
			     pv->callback_masks >> XEN_CALLBACKTYPE_failsafe & 1);

	if (!good)
		return exit_stop(
			v, e, "pv.md#ends",
			"its failsafe callback is due, and there is no memory for the frame "
			"below %lx, or none to run at %lx",
			pv->user ? pv->kernel_sp : v->state.gpr[RSP], pv->failsafe_callback);
	pv_forget_refused(v);
	return RESUME;
}
EXIT_HANDLER(SEGMENT, "pv", exit_segment);

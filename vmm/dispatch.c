/*
 * Exit dispatch: one handler per exit reason, from a registered table.
 *
 * A handler for one engine goes before one for its base, and that before a handler for any engine.
 * A reason without a handler is loud: it ends the guest, and rip is not advanced.
 */
#include <kern/trap.h>
#include <vmm/dispatch.h>
#include <vmm/engine.h>
#include <vmm/exitlog.h>
#include <vmm/vcpu.h>

SET_DECLARE(exit_handlers);
SET_DECLARE(engines);

#define ENGINE_MAX 5

static exit_handle_fn *handlers[ENGINE_MAX][EXIT_COUNT];

static enum verdict
exit_unhandled(struct vcpu *v, struct exit *e)
{
	return exit_stop(v, e, "lab1a.md#exits", "nothing in this build handles this exit (%s)",
			 exit_names[e->reason]);
}

/* Puts the handlers for `engine`, NULL for those for any, into row i, over what is there. */
static void
fill_row(unsigned i, const char *engine)
{
	set_foreach (const struct exit_handler *, h, exit_handlers)
		if (engine ? h->engine && !strcmp(h->engine, engine) : !h->engine)
			handlers[i][h->reason] = h->handle;
}

/* Fills one row of handlers per engine, so that dispatch is one indexed call. */
static void
dispatch_init(void)
{
	unsigned n = 0;

	set_foreach (const struct engine *, engine, engines) {
		ASSERT(n < ENGINE_MAX);
		for (unsigned reason = 0; reason < EXIT_COUNT; reason++)
			handlers[n][reason] = exit_unhandled;
		fill_row(n, NULL);
		if (engine->base)
			fill_row(n, engine->base);
		fill_row(n++, engine->name);
	}
}
INITCALL(40, dispatch_init);

exit_handle_fn *const *
exit_handlers_of(const struct engine *engine)
{
	unsigned i = 0;

	set_foreach (const struct engine *, one, engines) {
		if (one == engine)
			return handlers[i];
		i++;
	}
	return NULL; /* no engine of this build */
}

enum verdict
exit_dispatch(struct vcpu *v, struct exit *e)
{
	ASSERT(e->reason < EXIT_COUNT);
	return v->handlers[e->reason](v, e);
}

static enum verdict
exit_irq(struct vcpu *v, struct exit *e)
{
	if (e->vector >= IRQ_BASE)
		irq(e->vector);
	else if (e->vector != VEC_NMI) /* which needs no more than that its handler returns */
		preempt_point();       /* what ended the run waits with the host's interrupts off */
	return RESUME;
}
EXIT_HANDLER(IRQ, NULL, exit_irq);

/*
 * Exit dispatch: one handler per exit reason, from a registered table.
 *
 * A handler for one engine goes before one for its base, and that before a handler for any engine.
 * A reason without a handler is loud: it ends the guest, and rip is not advanced.
 */
#include <kern/trap.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/exitlog.h>
#include <vmm/mem/mmu.h>
#include <vmm/vcpu.h>
#include <vmm/x86/insn.h>

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

/* NULL: no such engine in this build. */
const struct engine *
engine_find(const char *name)
{
	set_foreach (const struct engine *, engine, engines)
		if (!strcmp(engine->name, name))
			return engine;
	return NULL;
}

const struct engine *
engine_default(void)
{
	const struct engine *first = engine_find("te");

	set_foreach (const struct engine *, engine, engines)
		if (!first && (!engine->probe || !engine->probe()))
			first = engine;
	set_foreach (const struct engine *, engine, engines)
		first = first ? first : engine;
	return first;
}

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

/* The instruction of an exit, what it was done to, and the address of a page fault. */
static void
exit_object(struct vcpu *v, const struct exit *e, char *buf, size_t size)
{
	size_t used = 0;

	*buf = '\0';
	if (e->insn_len)
		used = (size_t)snprintf(buf, size, ", %s", insn_name(e->insn_op));
	if (e->insn_op == INSN_RDMSR || e->insn_op == INSN_WRMSR)
		used += (size_t)snprintf(buf + used, size - used, " %lx",
					 v->state.gpr[RCX] & 0xffffffff);
	if (e->insn_len && v->engine->operand)
		used += v->engine->operand(v, buf + used, size - used);
	if (e->vector == VEC_PF)
		snprintf(buf + used, size - used, ", cr2 %08lx", e->gva);
}

/* The line that ends a guest: what it did, where, by which exit, and who explains it. */
enum verdict
exit_stop(struct vcpu *v, const struct exit *e, const char *page, const char *fmt, ...)
{
	char what[120], object[100], number[16] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	exit_object(v, e, object, sizeof(object));
	if (!v->last->effect)
		exit_effect(v, EFFECT_STOP, 0, e->gva);
	vcpu_need(v, STATE_SEG);
	if (v->number)
		snprintf(number, sizeof(number), " of CPU %u", v->number);
	domain_stop(v->domain, "%s [exit %lu%s: %s error %x at %04x:%08lx%s; see handouts/%s]",
		    what, v->exits, number, vector_short(e->vector), e->error,
		    v->state.seg[SEG_CS].sel, e->rip, object, page);
	return STOP;
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

enum verdict
exit_limit(struct vcpu *v, const struct exit *e, unsigned vector, uint32_t error, const char *page,
	   const char *fmt, ...)
{
	char what[120];
	va_list ap;

	vcpu_need(v, STATE_SEG);
	if (v->state.seg[SEG_CS].sel & 3)
		return event_fault(v, vector, error);
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return exit_stop(v, e, page, "%s", what);
}

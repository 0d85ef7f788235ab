/*
 * How a guest ends, with a line that says why.
 */
#include <kern/thread.h>
#include <vmm/dev/io.h>
#include <vmm/dispatch.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/event.h>
#include <vmm/exitlog.h>
#include <vmm/vcpu.h>
#include <vmm/x86/insn.h>

static void
end(struct domain *d, const char *how)
{
	d->state = DOMAIN_ENDED;
	need_resched = true; /* no vCPU of it that has the CPU is entered once more */
	for_each_vcpu(v, d) v->thread.deadline = 0; /* the last turn of each */
	domain_flush(d);
	if (d->silent)
		return;
	printf("d%u %s: %s: %s\n", d->id, d->name, how, d->end_reason);
	side_printf("@Z end d%u %s %s\n", d->id, how, d->end_reason);
}

void
domain_stop(struct domain *d, const char *fmt, ...)
{
	char ports[160];
	va_list ap;

	if (d->state == DOMAIN_ENDED)
		return;
	va_start(ap, fmt);
	vsnprintf(d->end_reason, sizeof(d->end_reason), fmt, ap);
	va_end(ap);
	d->stopped = true;
	end(d, domain_restarts(d) ? "starts again" : "stopped");
	if (d->silent || domain_restarts(d))
		return;
	exit_print_last(d->ran ? d->ran : d->vcpu, 10);
	io_unclaimed(d, ports, sizeof(ports));
	if (*ports)
		printf("  ports that no device has: %s\n", ports);
}

void
domain_off(struct domain *d, const char *how)
{
	if (d->state == DOMAIN_ENDED)
		return;
	snprintf(d->end_reason, sizeof(d->end_reason), "guest %s after %lu exits", how,
		 domain_exits(d));
	end(d, "ended");
}

void
domain_exit(struct domain *d, unsigned code)
{
	if (d->state == DOMAIN_ENDED)
		return;
	d->exit_code = code;
	snprintf(d->end_reason, sizeof(d->end_reason), "exit code %u after %lu exits", code,
		 domain_exits(d));
	end(d, "ended");
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

/*
 * How a domain ends, with one line that says why; and its clock.
 */
#include <kern/thread.h>
#include <vmm/dev/io.h>
#include <vmm/domain.h>
#include <vmm/exitlog.h>
#include <vmm/vcpu.h>

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

void
domain_starves(struct domain *d)
{
	d->starved = true;
	need_resched = true;
}

uint64_t
domain_exits(const struct domain *d)
{
	uint64_t exits = 0;

	for_each_vcpu(v, d) exits += v->exits;
	return exits;
}

uint64_t
domain_now(const struct domain *d)
{
	return (d->paused ? d->paused_at : clock_ns()) - d->clock_offset;
}

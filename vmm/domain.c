/*
 * A domain's clock and counts.
 */
#include <kern/thread.h>
#include <vmm/domain.h>
#include <vmm/vcpu.h>

void
domain_starves(struct domain *d)
{
	d->starved = true;
	need_resched = true;
}

bool
domain_is_over(const struct domain *d)
{
	for_each_vcpu(v, d) if (v->thread.state != THREAD_ENDED) return false;
	return true;
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

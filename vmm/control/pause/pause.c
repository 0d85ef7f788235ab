/*
 * Pause and resume.
 */
#include <vmm/control/pause/pause.h>
#include <vmm/debug/debug.h>
#include <vmm/domain.h>

void
domain_pause(struct domain *d, uint8_t by)
{
	if (!d->paused)
		d->paused_at = clock_ns();
	d->paused |= by; /* the next turn of each of its CPUs sees it */
}

void
domain_resume(struct domain *d, uint8_t by)
{
	bool was = d->paused;

	d->paused &= (uint8_t)~by;
	if (d->paused)
		return;
	if (was)
		d->clock_offset += clock_ns() - d->paused_at;
	for_each_vcpu(v, d)
	{
		if (!v->debug.held) /* else it is the debugger's to let go */
			debug_release(v);
	}
}

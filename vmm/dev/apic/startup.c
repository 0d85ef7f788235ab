/*
 * How a domain's other CPUs come to life: by INIT and a start-up IPI of one that runs, which the
 * platform brings here. What a CPU then does is a lab's (startup.h).
 *
 * The CPU that they are for does not run meanwhile, for there is one physical CPU; it may be at an
 * exit of its own, with an event on its way. So a signal is noted, and taken at the start of the
 * next turn.
 */
#include <vmm/dev/apic/startup.h>
#include <vmm/domain.h>
#include <vmm/engine.h>
#include <vmm/mem/guestmem.h>
#include <vmm/vcpu.h>

SET_DECLARE(startups);
static const struct startup *startup; /* NULL: this build has none */

static void
startups_init(void)
{
	set_foreach (const struct startup *, s, startups)
		startup = s;
}
INITCALL(38, startups_init);

bool
pc_has_startup(void)
{
	return startup;
}

void
startup_signal(struct vcpu *v, unsigned what)
{
	v->signals |= (uint8_t)what;
	v->thread.deadline = 0;
	need_resched = true;
}

bool
pc_init_ipi(struct vcpu *v)
{
	if (v->number) {
		startup->init(v);
		return true;
	}
	domain_stop(v->domain, "it sent INIT to its first CPU, and there is no firmware that would "
			       "start it again [see handouts/guide.md#smp]");
	return false;
}

/* The first CPU never waits for one, and there are others in builds with a start-up only. */
void
pc_startup_ipi(struct vcpu *v, uint8_t vector)
{
	if (startup)
		startup->sipi(v, vector);
}

void
pc_nmi(struct vcpu *v)
{
	if (v->state.activity != ACTIVITY_WAITS_FOR_SIPI && !(v->signals & SIGNAL_INIT))
		startup_signal(v, SIGNAL_NMI);
}

void
pc_signals(struct vcpu *v)
{
	if (startup)
		startup->take(v);
}

void
pc_reset_state(struct cpu_state *s)
{
	startup->reset(s);
}

/* Its engine forgets what it was about to deliver, and the TLBs are all that MMU modes have. */
void
startup_wait(struct vcpu *v)
{
	startup->reset(&v->state);
	v->state.activity = ACTIVITY_WAITS_FOR_SIPI;
	v->engine->reset(v);
	v->valid = v->dirty = STATE_ALL;
	tlb_flush(v);
}

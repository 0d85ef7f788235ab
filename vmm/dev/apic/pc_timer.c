/*
 * The platform `pc-apic`: the timers of its local APICs, of which one kind is a lab's (deadline.h).
 */
#include <kern/cpu.h>
#include <kern/host.h>
#include <vmm/dev/apic/deadline.h>
#include <vmm/dev/apic/pc_apic.h>
#include <vmm/dev/platform.h>

SET_DECLARE(deadline_timers);
static const struct deadline_timer *deadlines; /* NULL: this build has none */

static void
deadlines_init(void)
{
	set_foreach (const struct deadline_timer *, t, deadline_timers)
		deadlines = t;
}
INITCALL(38, deadlines_init);

bool
pc_has_deadlines(void)
{
	return deadlines;
}

static uint64_t
tsc_of(struct vcpu *v)
{
	vcpu_need(v, STATE_MSR);
	return rdtsc() + v->state.tsc_offset;
}

void
pc_tick(struct vcpu *v, uint64_t now)
{
	struct lapic *l = lapic_of(v);

	if (l->counting)
		lapic_tick(l, now);
	if (l->tsc_deadline)
		deadlines->tick(l, tsc_of(v));
}

uint64_t
pc_timer_deadline(struct vcpu *v)
{
	const struct lapic *l = lapic_of(v);
	uint64_t left;

	if (!l->tsc_deadline)
		return lapic_deadline(l);
	left = deadlines->left(l, tsc_of(v), clock_tsc_hz());
	return left == LAPIC_NEVER ? LAPIC_NEVER : domain_now(v->domain) + left;
}

/* An access by a deadline that is over finds none, and one in the past is due at once. */
bool
pc_msr(struct vcpu *v, uint32_t n, bool write, uint64_t *value)
{
	if (n != MSR_TSC_DEADLINE || !deadlines)
		return false;
	pc_tick(v, domain_now(v->domain));
	deadlines->msr(lapic_of(v), write, value);
	if (write) {
		platform_lines(v->domain);
		platform_alarm(v->domain);
	}
	return true;
}

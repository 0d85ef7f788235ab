/*
 * Hypercalls about a vCPU itself: its timers, where it has its vcpu_info, its turns.
 */
#include <inc/errno.h>
#include <vmm/dev/platform.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/events/events.h>
#include <vmm/pv/events/port_ops.h>

#define POLL_MAX 128u

/* A timer is another one now: it may be due, or end this turn. */
static int64_t
timer_changed(struct vcpu *v, int err)
{
	if (!err) {
		platform_lines(v->domain);
		platform_alarm(v->domain);
	}
	return err;
}

static int64_t
set_timer_op(struct vcpu *v, struct pv_call *c)
{
	pv_timer_set(&pv_vcpu_of(v)->timers, domain_now(v->domain), c->arg[0]);
	return timer_changed(v, 0);
}

/* Only its own. */
static int
set_single(struct vcpu *v, struct vcpu *of, uint64_t at)
{
	struct xen_vcpu_set_singleshot_timer set;

	if (v != of)
		return -EINVAL;
	if (pv_read(v, &set, at, sizeof(set)))
		return -EFAULT;
	return pv_timer_single(&pv_vcpu_of(v)->timers, domain_now(v->domain), set.timeout_abs_ns,
			       set.flags);
}

static int
set_period(struct vcpu *v, struct vcpu *of, uint64_t at)
{
	struct xen_vcpu_set_periodic_timer set;

	if (pv_read(v, &set, at, sizeof(set)))
		return -EFAULT;
	return pv_timer_period(&pv_vcpu_of(of)->timers, domain_now(v->domain), set.period_ns);
}

static int
stop_single(struct vcpu *v, struct vcpu *of)
{
	if (v != of)
		return -EINVAL;
	pv_timer_set(&pv_vcpu_of(v)->timers, domain_now(v->domain), 0);
	return 0;
}

/*
 * Once: what it holds moves there; while nobody uses it, so of itself, or of one that is down. To
 * be sure that nothing is lost meanwhile, all ports are to be looked at (Xen does so).
 */
static int
place_info(struct vcpu *v, struct vcpu *of, uint64_t at)
{
	struct pv_events *pe = pv_events_of(v->domain);
	struct xen_vcpu_info **info = &pe->ports.info[of->number], *to;
	struct xen_vcpu_register_vcpu_info place;
	mfn_t m;

	if (pv_read(v, &place, at, sizeof(place)))
		return -EFAULT;
	if (place.offset > PAGE_SIZE - sizeof(*to) || place.offset % sizeof(uint64_t))
		return -ENXIO;
	m = pv_frame_named(v, place.mfn);
	if (*info != &pe->ports.shared->vcpu_info[of->number] || (v != of && pv_vcpu_is_up(of)) ||
	    !pv_hold(v, m))
		return -EINVAL;
	to = (void *)((uint8_t *)mfn_ptr(m) + place.offset);
	memcpy(to, *info, sizeof(*to));
	*info = pv_of(of)->info = to;
	to->pending_sel = ~0ul;
	to->upcall_pending = 1;
	return 0;
}

/* In the state that it is in it has been up to now, too. */
static int
tell_runstate(struct vcpu *v, struct vcpu *of, uint64_t to)
{
	struct xen_vcpu_runstate_info r = pv_vcpu_of(of)->runstate;

	r.time[r.state] += domain_now(v->domain) - r.state_entry_time;
	return pv_write(v, to, &r, sizeof(r));
}

/* Where it is not mapped, Xen says nothing, now or later. */
static int
place_runstate(struct vcpu *v, struct vcpu *of, uint64_t at)
{
	uint64_t to;

	if (pv_read(v, &to, at, sizeof(to)))
		return -EFAULT;
	pv_vcpu_of(of)->runstate_at = to;
	tell_runstate(v, of, to);
	return 0;
}

/* ... and the same; it is there when that vCPU runs next. */
static int
place_time(struct vcpu *v, struct vcpu *of, uint64_t at)
{
	uint64_t to;

	if (pv_read(v, &to, at, sizeof(to)))
		return -EFAULT;
	pv_vcpu_of(of)->time_at = to;
	if (v == of)
		pv_show_time_area(v);
	return 0;
}

/* Not by an event: it comes with upcalls masked, too. One that is down hears none. */
static int
send_nmi(struct vcpu *of, uint64_t arg)
{
	if (arg)
		return -EINVAL;
	if (pv_vcpu_is_up(of)) {
		of->signals |= SIGNAL_NMI;
		thread_due(&of->thread);
	}
	return 0;
}

static struct vcpu *
vcpu_numbered(struct domain *d, uint64_t number)
{
	struct vcpu *v = d->vcpu;

	while (v && v->number != number)
		v = v->next;
	return v;
}

static int64_t
vcpu_op(struct vcpu *v, struct pv_call *c)
{
	struct vcpu *of = vcpu_numbered(v->domain, (uint32_t)c->arg[1]);

	if (!of)
		return -ENOENT;
	switch ((uint32_t)c->arg[0]) {
	case XEN_VCPUOP_initialise:
		return pv_vcpu_initialise(v, of, c);
	case XEN_VCPUOP_up:
		return pv_vcpu_up(of);
	case XEN_VCPUOP_down:
		return pv_vcpu_down(v, of, c);
	case XEN_VCPUOP_is_up:
		return pv_vcpu_is_up(of);
	case XEN_VCPUOP_get_runstate_info:
		return tell_runstate(v, of, c->arg[2]);
	case XEN_VCPUOP_register_runstate_memory_area:
		return place_runstate(v, of, c->arg[2]);
	case XEN_VCPUOP_register_vcpu_info:
		return place_info(v, of, c->arg[2]);
	case XEN_VCPUOP_register_vcpu_time_memory_area:
		return place_time(v, of, c->arg[2]);
	case XEN_VCPUOP_set_periodic_timer:
		return timer_changed(v, set_period(v, of, c->arg[2]));
	case XEN_VCPUOP_stop_periodic_timer:
		return pv_timer_period(&pv_vcpu_of(of)->timers, 0, 0);
	case XEN_VCPUOP_set_singleshot_timer:
		return timer_changed(v, set_single(v, of, c->arg[2]));
	case XEN_VCPUOP_stop_singleshot_timer:
		return stop_single(v, of);
	case XEN_VCPUOP_send_nmi:
		return send_nmi(of, c->arg[2]);
	default:
		return -ENOSYS;
	}
}
PV_HYPERCALL(set_timer_op, set_timer_op);
PV_HYPERCALL(vcpu_op, vcpu_op);

/* ---- the scheduler ---- */

static void
sleep(struct vcpu *v, struct pv_call *c)
{
	pv_waits(v);
	c->verdict = BLOCK;
}

/* Events are unmasked, and then it looks: one that came before is not slept over. */
static int64_t
block(struct vcpu *v, struct pv_call *c)
{
	if (c->inner)
		return -EINVAL;
	if (pv_may_sleep(pv_of(v)->info))
		sleep(v, c);
	return 0;
}

/* Until one of these ports is pending, masked or not, or it is so late; or an upcall comes. */
static int64_t
poll(struct vcpu *v, struct pv_call *c)
{
	struct pv_events *pe = pv_events_of(v->domain);
	struct xen_sched_poll p;
	uint32_t port = 0;

	if (pv_read(v, &p, c->arg[1], sizeof(p)))
		return -EFAULT;
	if (c->inner || p.nr_ports > POLL_MAX)
		return -EINVAL;
	for (uint32_t n = 0; n < p.nr_ports; n++) {
		if (pv_read(v, &port, p.ports + n * sizeof(port), sizeof(port)))
			return -EFAULT;
		if (port >= XEN_PORTS)
			return -EINVAL;
		if (pv_port_is_pending(&pe->ports, port))
			return 0;
	}
	pv_poll_begin(v, p.nr_ports == 1 ? port : 0, p.timeout);
	if (!pv_upcall_is_due(pv_of(v)))
		sleep(v, c);
	return 0;
}

int64_t
pv_sched_op(struct vcpu *v, struct pv_call *c)
{
	switch ((uint32_t)c->arg[0]) {
	case XEN_SCHEDOP_block:
		return block(v, c);
	case XEN_SCHEDOP_poll:
		return poll(v, c);
	default:
		return -ENOSYS;
	}
}

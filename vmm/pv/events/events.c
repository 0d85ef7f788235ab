/*
 * Ports, timers and vCPUs brought together: when an upcall is due, and who wakes for it.
 *
 * The guest's mask is in its own memory, and it unmasks without asking. So behind each exit Zeno
 * looks, and an upcall that waits is v->irq_pending (engine.c, hypercalls.c).
 */
#include <inc/errno.h>
#include <kern/cpu.h>
#include <kern/frame.h>
#include <kern/host.h>
#include <vmm/dev/platform.h>
#include <vmm/pv/control/control.h>
#include <vmm/pv/pv.h>
#include <vmm/pv/events/events.h>

struct pv_ports *
pv_ports_of(uint16_t id)
{
	struct domain *d = pv_domain_named(id);
	bool lives = d && d->pv && pv_domain_of(d)->events && d->state == DOMAIN_RUNNING;

	return lives ? &pv_events_of(d)->ports : NULL;
}

void *
pv_ports_page(void)
{
	return host_page();
}

/* Whether the vCPU has something to do: an upcall, or its wait is over. */
static bool
pending(struct vcpu *v)
{
	return pv_upcall_is_due(pv_of(v)) || pv_vcpu_of(v)->goes_on;
}

static void
wakes(struct vcpu *v)
{
	v->irq_pending = true;
	thread_due(&v->thread);
}

/* Whoever waits for this port, be it another one's. */
static COLD void
polls_are_over(struct pv_events *pe, unsigned port)
{
	for_each_vcpu(v, pe->ports.of)
	{
		struct pv_vcpu *own = pv_vcpu_of(v);

		if (!own->polls || (own->poll_port && own->poll_port != port))
			continue;
		own->goes_on = true;
		wakes(v);
	}
}

void
pv_port_tells(struct pv_ports *p, unsigned vcpu, unsigned port)
{
	struct pv_events *pe = (struct pv_events *)p; /* which begins with them */
	struct vcpu *v = vcpu < PV_VCPUS ? pe->vcpu[vcpu].v : NULL;

	if (pe->pollers)
		polls_are_over(pe, port);
	if (v && pv_upcall_is_due(pv_of(v)) && (!pv_of(v)->far || pv_of(v)->far->hears(v)))
		wakes(v);
}

void
pv_poll_begin(struct vcpu *v, uint32_t port, uint64_t timeout)
{
	struct pv_vcpu *own = pv_vcpu_of(v);

	pv_events_of(v->domain)->pollers += !own->polls;
	own->polls = true;
	own->goes_on = false;
	own->poll_port = port;
	pv_timer_poll(&own->timers, timeout);
}

/* One that can't be told what came of it: nothing is done. */
static APART int64_t
answered(struct vcpu *v, struct pv_call *c, void *arg, size_t size)
{
	int result;

	if (pv_write(v, c->arg[1], arg, size))
		return -EFAULT;
	result = pv_ports_op(&pv_events_of(v->domain)->ports, (uint32_t)c->arg[0], arg);
	if (!result)
		pv_write(v, c->arg[1], arg, size);
	return result;
}

static int64_t
event_channel_op(struct vcpu *v, struct pv_call *c)
{
	uint32_t cmd = (uint32_t)c->arg[0];
	const struct pv_port_op *op = &pv_port_ops[cmd];
	uint64_t arg[PV_PORTS_ARG / sizeof(uint64_t)];
	struct pv_events *pe = pv_events_of(v->domain);
	int result;

	if (cmd >= PV_PORT_OPS || !op->size)
		return -ENOSYS;
	pv_charge(&c->budget, op->takes);
	if (pv_read(v, arg, c->arg[1], op->size))
		return -EFAULT;
	if (op->answers)
		return answered(v, c, arg, op->size);
	result = pv_ports_op(&pe->ports, cmd, arg);
	c->again = pe->says; /* the same call takes the rest */
	pe->says = false;
	return result;
}
PV_HYPERCALL(event_channel_op, event_channel_op);

/* ---- the platform ---- */

/* The TSC is read last: if the machine sleeps between the two, the guest's time waits for it. */
static void
show_time(struct domain *d)
{
	struct pv_events *pe = pv_events_of(d);
	uint64_t ns = domain_now(d);

	for_each_vcpu(v, d) pv_time_write(&pe->ports.info[v->number]->time, rdtsc(), ns, pe->scale);
	if (pv_running && pv_running->domain == d)
		pv_show_time_area(pv_running);
	if (pe->wall == d->clock_offset)
		return;
	pe->wall = d->clock_offset;
	pv_time_write_wall(pe->ports.shared, pe->wall);
}

/* A vCPU's timers stand still, as in Xen, until it is up. */
void
pv_events_lines(struct domain *d)
{
	uint64_t now = domain_now(d);

	for_each_vcpu(v, d)
	{
		struct pv_vcpu *own = pv_vcpu_of(v);
		unsigned due = pv_vcpu_is_up(v) ? pv_timers_take(&own->timers, now) : 0;

		if (due & PV_TIMER_EVENT)
			pv_virq_raise(&pv_events_of(d)->ports, v->number, XEN_VIRQ_TIMER);
		if (due & PV_TIMER_POLL && own->polls)
			own->goes_on = true;
	}
	show_time(d);
	pv_console_look(d);
}

uint64_t
pv_events_deadline(struct domain *d)
{
	uint64_t first = PV_NEVER;

	for_each_vcpu(v, d)
	{
		uint64_t at = pv_timers_next(&pv_vcpu_of(v)->timers);

		if (pv_vcpu_is_up(v) && at < first)
			first = at;
	}
	return first;
}

/* It goes on, with an upcall or without: a wait is over by either. */
static uint8_t
ack(struct vcpu *v)
{
	struct pv_vcpu *own = pv_vcpu_of(v);

	pv_events_of(v->domain)->pollers -= own->polls;
	own->polls = own->goes_on = false;
	pv_timer_poll(&own->timers, 0);
	return 0;
}

static const struct platform events_platform = {
	.name = "xen",
	.what = "event channels and time as a PV guest knows them",
	.free = pv_domain_free,
	.ports = pv_dom0_ports,
	.claims = pv_dom0_claims,
	.lines = pv_events_lines,
	.pending = pending,
	.ack = ack,
	.deadline = pv_events_deadline,
	.punctual = true,
};

/* ---- as a part of the domain ---- */

static int
create(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);
	struct pv_events *pe = pd->events = host_page();

	if (!pe)
		return -ENOMEM;
	d->platform = &events_platform;
	pe->ports.of = d;
	pe->ports.domain = d->id;
	pe->ports.shared = pd->shared;
	pe->scale = pv_time_scale(clock_tsc_hz());
	for_each_vcpu(v, d)
	{
		pe->ports.info[v->number] = &pd->shared->vcpu_info[v->number];
		pv_vcpu_of(v)->v = v;
		pv_timers_init(&pv_vcpu_of(v)->timers);
		if (!pv_vcpu_is_up(v))
			pv_vcpu_of(v)->runstate.state = XEN_RUNSTATE_offline;
	}
	return 0;
}

/* The other ends learn of it now, before the number is another domain's. */
static void
free_events(struct domain *d)
{
	struct pv_events *pe = pv_events_of(d);

	if (!pe)
		return;
	pv_ports_close_all(&pe->ports);
	for (unsigned n = 0; n < PV_PORT_PAGES; n++)
		host_page_put(pe->ports.page[n]);
	host_page_put(pe);
	pv_domain_of(d)->events = NULL;
}

static const struct pv_part events_part = {
	.create = create,
	.open = pv_services_open,
	.free = free_events,
	.runs = pv_runstate,
	.sched_op = pv_sched_op,
};
PV_PART(events_part);
PV_PART_RUNS(events_part);

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
#include <vmm/pv/shared.h>

static const struct platform pv_platform;

static struct pv_domain *
living(uint16_t id)
{
	struct domain *d = pv_domain_named(id);

	return d && d->platform == &pv_platform && d->state == DOMAIN_RUNNING ? pv_domain_of(d)
									      : NULL;
}

struct pv_ports *
pv_ports_of(uint16_t id)
{
	struct pv_domain *pd = living(id);

	return pd ? &pd->ports : NULL;
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
	return pv_upcall_is_due(pv_of(v)) || pv_domain_of(v->domain)->goes_on;
}

void
pv_port_tells(struct pv_ports *p, unsigned vcpu, unsigned port)
{
	struct domain *d = p->of;
	struct pv_domain *pd = pv_domain_of(d);

	if (pd->polls && (!pd->poll_port || pd->poll_port == port))
		pd->goes_on = true;
	for_each_vcpu(v, d)
	{
		if (v->number == vcpu && pending(v)) {
			v->irq_pending = true;
			v->thread.deadline = 0;
		}
	}
}

/* As an entry with W would (types.h). */
bool
pv_hold(struct vcpu *v, mfn_t m)
{
	struct pv_domain *pd = pv_domain_of(v->domain);
	struct frame *f = pv_own_frame(pv_of(v)->types, m);

	if (!f || f->type != FRAME_GUEST || f->page_type != PV_ORDINARY ||
	    pd->held_count == PV_HELD)
		return false;
	f->type_refs++;
	pd->held[pd->held_count++] = m;
	return true;
}

void
pv_let_go(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);

	while (pd->held_count)
		frame_of(pd->held[--pd->held_count])->type_refs--;
}

void
pv_poll_begin(struct pv_domain *pd, uint32_t port, uint64_t timeout)
{
	pd->polls = true;
	pd->goes_on = false;
	pd->poll_port = port;
	pv_timer_poll(&pd->timers, timeout);
}

int64_t
pv_call_event_channel_op(struct vcpu *v, struct pv_call *c)
{
	struct pv_ports *p = &pv_domain_of(v->domain)->ports;
	uint64_t arg[PV_PORTS_ARG / sizeof(uint64_t)];
	uint32_t cmd = (uint32_t)c->arg[0];
	bool answers;
	size_t size = pv_ports_size(cmd, &answers);
	int result;

	if (!size)
		return -ENOSYS;
	if (cmd == XEN_EVTCHNOP_send || cmd == XEN_EVTCHNOP_reset)
		pv_charge(&c->budget, PV_BATCH / 4); /* a ring's text; all ports */
	/* one that can't be told what came of it: nothing is done */
	if (pv_read(v, arg, c->arg[1], size) || (answers && pv_write(v, c->arg[1], arg, size)))
		return -EFAULT;
	result = pv_ports_op(p, cmd, arg);
	if (!result && answers)
		pv_write(v, c->arg[1], arg, size);
	return result;
}

/* ---- the platform ---- */

/* The TSC is read last: if the machine sleeps between the two, the guest's time waits for it. */
static void
show_time(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);
	uint64_t ns = domain_now(d);

	for_each_vcpu(v, d) pv_time_write(&pd->ports.info[v->number]->time, rdtsc(), ns, pd->scale);
	if (pd->wall == d->clock_offset)
		return;
	pd->wall = d->clock_offset;
	pv_time_write_wall(pd->ports.shared, pd->wall);
}

static void
lines(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);
	unsigned due = pv_timers_take(&pd->timers, domain_now(d));

	if (due & PV_TIMER_EVENT)
		pv_virq_raise(&pd->ports, 0, XEN_VIRQ_TIMER);
	if (due & PV_TIMER_POLL && pd->polls)
		pd->goes_on = true;
	show_time(d);
	pv_console_look(d);
}

static uint64_t
deadline(struct domain *d)
{
	return pv_timers_next(&pv_domain_of(d)->timers);
}

/* It goes on, with an upcall or without: a wait is over by either. */
static uint8_t
ack(struct vcpu *v)
{
	struct pv_domain *pd = pv_domain_of(v->domain);

	pd->polls = pd->goes_on = false;
	pv_timer_poll(&pd->timers, 0);
	return 0;
}

static int
init(struct domain *d)
{
	return 0; /* it was there before its vCPU */
}

/* The other ends learn of it now, before the number is another domain's. */
static void
free_domain(struct domain *d)
{
	struct pv_domain *pd = pv_domain_of(d);

	pv_control_forget(d);
	if (pd && pd->ports.shared)
		pv_ports_close_all(&pd->ports);
	for (unsigned n = 0; pd && n < PV_PORT_PAGES; n++)
		host_page_put(pd->ports.page[n]);
	for (unsigned n = 0; pd && n < PV_GRANT_FRAMES; n++)
		host_page_put(pd->grant[n]);
	if (pd)
		host_page_put(pd->ports.shared);
	host_page_put(pd);
	d->machine = NULL;
}

static const struct platform pv_platform = {
	.name = "xen",
	.what = "event channels and time as a PV guest knows them",
	.init = init,
	.free = free_domain,
	.lines = lines,
	.pending = pending,
	.ack = ack,
	.deadline = deadline,
	.punctual = true,
};

int
pv_domain_create(struct domain *d)
{
	struct pv_domain *pd = host_page();

	d->machine = pd;
	d->platform = &pv_platform;
	if (!pd)
		return -ENOMEM;
	pd->ports.of = d;
	pd->ports.domain = d->id;
	pd->ports.shared = host_page();
	if (!pd->ports.shared)
		return -ENOMEM;
	pv_share(d->id, pd->ports.shared);
	pd->ports.info[0] = &pd->ports.shared->vcpu_info[0];
	pd->ports.info[0]->upcall_mask = 1;
	pd->scale = pv_time_scale(clock_tsc_hz());
	pv_timers_init(&pd->timers);
	return 0;
}

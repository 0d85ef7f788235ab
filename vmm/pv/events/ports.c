/*
 * Event channels, as event_channel.h says, and where it is silent, as Xen 4.17 answers. What moves
 * an event, opens and closes ports is the lab's (port_ops.h).
 */
#include <inc/errno.h>
#include <vmm/pv/events/port_ops.h>

void
pv_port_forget(struct pv_ports *p, uint32_t port, const struct pv_port *e)
{
	if (pv_port_has_peer(e))
		pv_peer_let_go(p, port, e);
	else if (e->state == XEN_EVTCHNSTAT_interdomain)
		p->service[e->other] = 0;
	if (e->state == XEN_EVTCHNSTAT_virq)
		p->virq[e->vcpu][e->other] = 0;
	if (e->state == XEN_EVTCHNSTAT_pirq)
		pv_pirq_unbind(p, e->other, (uint16_t)port);
}

/* To an out field: 0, or what pv_port_new() said. */
static int
told(uint32_t *out, int port)
{
	if (port >= 0)
		*out = (uint32_t)port;
	return port < 0 ? port : 0;
}

/* A domain may speak of itself alone, by name or by number: 0, -ESRCH, -EPERM. */
static int
of_self(const struct pv_ports *p, uint16_t dom)
{
	if (dom == XEN_DOMID_SELF || dom == p->domain)
		return 0;
	return pv_ports_of(dom) ? -EPERM : -ESRCH;
}

/* ---- events of Zeno's own ---- */

void
pv_virq_raise(struct pv_ports *p, unsigned vcpu, enum xen_virq virq)
{
	if (p->virq[vcpu][virq])
		pv_port_raise(p, p->virq[vcpu][virq]);
}

/* The guest may have closed it. */
void
pv_service_raise(struct pv_ports *p, enum pv_service service)
{
	if (p->service[service])
		pv_port_raise(p, p->service[service]);
}

/* ---- operations ---- */

static bool
has_vcpu(const struct pv_ports *p, uint32_t vcpu)
{
	return vcpu < PV_VCPUS && p->info[vcpu];
}

static int
alloc_unbound(struct pv_ports *p, void *arg)
{
	struct xen_evtchn_alloc_unbound *a = arg;
	int err = of_self(p, a->dom);
	uint16_t remote = a->remote_dom == XEN_DOMID_SELF ? p->domain : a->remote_dom;

	if (err)
		return err;
	return told(&a->port, pv_port_new(p, (struct pv_port){ .state = XEN_EVTCHNSTAT_unbound,
							       .dom = remote }));
}

/* xen.h: "V" are a vCPU's own, "G" the domain's. */
static bool
is_global(uint32_t virq)
{
	return virq != XEN_VIRQ_TIMER && virq != XEN_VIRQ_DEBUG && virq != XEN_VIRQ_XENOPROF &&
	       virq != XEN_VIRQ_XENPMU;
}

static int
bind_virq(struct pv_ports *p, void *arg)
{
	struct xen_evtchn_bind_virq *b = arg;
	int port;

	if (b->virq >= XEN_VIRQS || (is_global(b->virq) && b->vcpu))
		return -EINVAL;
	if (!has_vcpu(p, b->vcpu))
		return -ENOENT;
	if (p->virq[b->vcpu][b->virq])
		return -EEXIST;
	port = pv_port_new(p, (struct pv_port){ .state = XEN_EVTCHNSTAT_virq,
						.vcpu = (uint8_t)b->vcpu,
						.other = (uint16_t)b->virq });
	if (port >= 0)
		p->virq[b->vcpu][b->virq] = (uint16_t)port;
	return told(&b->port, port);
}

/* The only flag says that others may have the line, too: here nobody has (physdev.c). */
static int
bind_pirq(struct pv_ports *p, void *arg)
{
	struct xen_evtchn_bind_pirq *b = arg;
	int err = pv_pirq_may_bind(p, b->pirq), port;

	if (err)
		return err;
	port = pv_port_new(
		p, (struct pv_port){ .state = XEN_EVTCHNSTAT_pirq, .other = (uint16_t)b->pirq });
	if (port >= 0)
		pv_pirq_bind(p, b->pirq, (uint16_t)port);
	return told(&b->port, port);
}

static int
bind_ipi(struct pv_ports *p, void *arg)
{
	struct xen_evtchn_bind_ipi *b = arg;

	if (!has_vcpu(p, b->vcpu))
		return -ENOENT;
	return told(&b->port, pv_port_new(p, (struct pv_port){ .state = XEN_EVTCHNSTAT_ipi,
							       .vcpu = (uint8_t)b->vcpu }));
}

static int
close(struct pv_ports *p, void *arg)
{
	return pv_port_close(p, ((struct xen_evtchn_close *)arg)->port);
}

static int
status(struct pv_ports *p, void *arg)
{
	struct xen_evtchn_status *s = arg;
	const struct pv_port *e = pv_port_at(p, s->port);
	int err = of_self(p, s->dom);

	if (err)
		return err;
	if (s->port >= XEN_PORTS)
		return -EINVAL;
	s->status = e ? e->state : XEN_EVTCHNSTAT_closed;
	s->vcpu = e ? e->vcpu : 0;
	switch (s->status) {
	case XEN_EVTCHNSTAT_unbound:
		s->u.unbound.dom = e->dom;
		break;
	case XEN_EVTCHNSTAT_interdomain:
		s->u.interdomain.dom = e->dom == PV_ZENO ? 0 : e->dom;
		s->u.interdomain.port = e->other;
		break;
	case XEN_EVTCHNSTAT_virq:
		s->u.virq = e->other;
		break;
	case XEN_EVTCHNSTAT_pirq:
		s->u.pirq = e->other;
	}
	return 0;
}

/* Only what is not bound to a vCPU already. */
static int
bind_vcpu(struct pv_ports *p, void *arg)
{
	const struct xen_evtchn_bind_vcpu *b = arg;
	struct pv_port *e = pv_port_at(p, b->port);

	if (!has_vcpu(p, b->vcpu))
		return -ENOENT;
	if (!e || e->state == XEN_EVTCHNSTAT_ipi ||
	    (e->state == XEN_EVTCHNSTAT_virq && !is_global(e->other)))
		return -EINVAL;
	e->vcpu = (uint8_t)b->vcpu;
	return 0;
}

static int
reset(struct pv_ports *p, void *arg)
{
	int err = of_self(p, ((struct xen_evtchn_reset *)arg)->dom);

	if (!err)
		pv_ports_close_all(p);
	return err;
}

/* FIFO channels are another way to see the same ports (event_channel.h): not Zeno's. */
#define OP(name, fn, answers, takes) \
	[XEN_EVTCHNOP_##name] = { fn, sizeof(struct xen_evtchn_##name), answers, takes }
const struct pv_port_op pv_port_ops[PV_PORT_OPS] = {
	OP(alloc_unbound, alloc_unbound, true, 0),
	OP(bind_interdomain, pv_op_bind_interdomain, true, 0),
	OP(bind_virq, bind_virq, true, 0),
	OP(bind_pirq, bind_pirq, true, 0),
	OP(bind_ipi, bind_ipi, true, 0),
	OP(status, status, true, 0),
	OP(close, close, false, 0),
	OP(send, pv_op_send, false, 4096),
	OP(bind_vcpu, bind_vcpu, false, 0),
	OP(unmask, pv_op_unmask, false, 0),
	OP(reset, reset, false, 4096),
};
_Static_assert(sizeof(struct xen_evtchn_status) <= PV_PORTS_ARG, "the longest");

int
pv_ports_op(struct pv_ports *p, uint32_t cmd, void *arg)
{
	return cmd < PV_PORT_OPS && pv_port_ops[cmd].size ? pv_port_ops[cmd].op(p, arg) : -ENOSYS;
}

void
pv_ports_close_all(struct pv_ports *p)
{
	for (unsigned port = 1; port < XEN_PORTS; port++)
		if (pv_port_at(p, port))
			pv_port_close(p, port);
}

int
pv_ports_serve(struct pv_ports *p, enum pv_service service)
{
	int port = pv_port_new(p, (struct pv_port){ .state = XEN_EVTCHNSTAT_interdomain,
						    .dom = PV_ZENO,
						    .other = (uint16_t)service });

	if (port > 0)
		p->service[service] = (uint16_t)port;
	return port;
}

int
pv_ports_offer(struct pv_ports *p, uint16_t dom)
{
	return pv_port_new(p, (struct pv_port){ .state = XEN_EVTCHNSTAT_unbound, .dom = dom });
}

/*
 * BUILD: vmm/pv/events/ports.c vmm/pv/events/pirq.c solutions/7-events/ports.c
 * solutions/7-events/upcall.c solutions/7-events/peers.c solutions/7-events/pirq.c
 */
/*
 * Event channels: each operation's answer to what it may be given, and what holds whatever three
 * domains do: ends know each other, each VIRQ has its port, and no event is lost to a guest that
 * keeps to the protocol.
 */
#include <errno.h>
#include <string.h>

#include <vmm/pv/events/ports.h>

#include "draw.h"
#include "tap.h"

#define DOMAINS 3u /* with the numbers 1 to 3, and dom0 */
#define ROUNDS  200000u

static struct domain {
	struct pv_ports ports;
	struct xen_shared_info shared;
	bool lives;
	unsigned told, served[PV_SERVICES];
} domains[DOMAINS + 1];
static bool no_memory;

struct pv_ports *
pv_ports_of(uint16_t domain)
{
	return domain <= DOMAINS && domains[domain].lives ? &domains[domain].ports : NULL;
}

void *
pv_ports_page(void)
{
	return no_memory ? NULL : calloc(1, 4096);
}

void
pv_port_tells(struct pv_ports *p, unsigned vcpu, unsigned port)
{
	domains[p->domain].told++;
}

void
pv_port_serves(struct pv_ports *p, enum pv_service service)
{
	domains[p->domain].served[service]++;
}

void
pv_line_open(unsigned irq, bool open)
{
}

static void
begin(unsigned id)
{
	struct domain *d = &domains[id];

	memset(d, 0, sizeof(*d));
	d->ports.domain = (uint16_t)id;
	d->ports.shared = &d->shared;
	d->ports.info[0] = &d->shared.vcpu_info[0];
	d->lives = true;
}

static void
end(unsigned id)
{
	struct domain *d = &domains[id];

	pv_ports_close_all(&d->ports);
	for (unsigned n = 0; n < PV_PORT_PAGES; n++)
		free(d->ports.page[n]);
	memset(d, 0, sizeof(*d));
}

/* ---- one operation each ---- */

#define DO(id, op, ...) \
	pv_ports_op(&domains[id].ports, XEN_EVTCHNOP_##op, &(struct xen_evtchn_##op){ __VA_ARGS__ })

static int
unbound(unsigned id, uint16_t dom, uint16_t remote, uint32_t *port)
{
	struct xen_evtchn_alloc_unbound a = { .dom = dom, .remote_dom = remote };
	int err = pv_ports_op(&domains[id].ports, XEN_EVTCHNOP_alloc_unbound, &a);

	*port = err ? ~0u : a.port;
	return err;
}

static int
interdomain(unsigned id, uint16_t remote, uint32_t remote_port, uint32_t *port)
{
	struct xen_evtchn_bind_interdomain b = { .remote_dom = remote, .remote_port = remote_port };
	int err = pv_ports_op(&domains[id].ports, XEN_EVTCHNOP_bind_interdomain, &b);

	*port = err ? ~0u : b.local_port;
	return err;
}

static int
virq(unsigned id, uint32_t number, uint32_t vcpu, uint32_t *port)
{
	struct xen_evtchn_bind_virq b = { .virq = number, .vcpu = vcpu };
	int err = pv_ports_op(&domains[id].ports, XEN_EVTCHNOP_bind_virq, &b);

	*port = err ? ~0u : b.port;
	return err;
}

static struct xen_evtchn_status
status_of(unsigned id, uint32_t port)
{
	struct xen_evtchn_status s = { .dom = XEN_DOMID_SELF, .port = port };

	if (pv_ports_op(&domains[id].ports, XEN_EVTCHNOP_status, &s))
		s.status = ~0u;
	return s;
}

#define IS(got, want, ...) is_u64((uint64_t)(int64_t)(got), (uint64_t)(int64_t)(want), __VA_ARGS__)

static void
answers(void)
{
	uint32_t a, b, c;

	begin(1);
	begin(2);
	IS(unbound(1, XEN_DOMID_SELF, 2, &a), 0, "alloc_unbound");
	IS(a, 1, "... the lowest port, which is 1");
	IS(unbound(1, 1, 2, &b), 0, "... by its own number");
	IS(unbound(1, 2, 2, &c), -EPERM, "... in another domain");
	IS(unbound(1, 3, 2, &c), -ESRCH, "... in none");
	IS(status_of(1, a).status, XEN_EVTCHNSTAT_unbound, "status");
	IS(status_of(1, a).u.unbound.dom, 2, "... for whom");
	IS(DO(1, send, a), 0, "what is sent before it is bound is taken");
	IS(interdomain(1, XEN_DOMID_SELF, a, &c), -EINVAL, "bind what is for another domain");
	IS(interdomain(2, 3, a, &c), -ESRCH, "bind to no domain");
	IS(interdomain(2, 1, 4000, &c), -EINVAL, "bind to no port");
	IS(interdomain(2, 1, ~0u, &c), -EINVAL, "bind far beyond");
	IS(interdomain(2, 1, a, &c), 0, "bind_interdomain");
	IS(pv_port_is_pending(&domains[2].ports, c), true, "... finds it pending");
	IS(interdomain(2, 1, a, &c), -EINVAL, "a second time");
	c = 1;
	IS(status_of(2, c).status << 24 | status_of(2, c).u.interdomain.port, 2 << 24 | a,
	   "status of one end");
	IS(status_of(1, a).u.interdomain.port << 16 | status_of(1, a).u.interdomain.dom,
	   c << 16 | 2, "and of the other");
	IS(DO(1, close, b), 0, "close");
	IS(DO(1, close, b), -EINVAL, "... twice");
	IS(DO(1, send, b), -EINVAL, "send by a closed one");
	IS(DO(1, close, 0), -EINVAL, "port 0 is none");
	IS(DO(1, send, ~0u), -EINVAL, "send by none");
	IS(DO(1, unmask, 4096), -EINVAL, "unmask none");
	IS(DO(1, unmask, 4095), 0, "unmask a closed one");
	IS(status_of(1, 4095).status, XEN_EVTCHNSTAT_closed, "status of a closed one");
	IS(status_of(1, 4096).status, ~0u, "status of none");
	IS(virq(1, XEN_VIRQ_TIMER, 0, &b), 0, "bind_virq");
	IS(virq(1, XEN_VIRQ_TIMER, 0, &c), -EEXIST, "... twice");
	IS(virq(1, XEN_VIRQ_DEBUG, 1, &c), -ENOENT, "... on no vCPU");
	IS(virq(1, XEN_VIRQ_CONSOLE, 1, &c), -EINVAL, "... a domain's on another than the first");
	IS(virq(1, XEN_VIRQS, 0, &c), -EINVAL, "... of no number");
	IS(DO(1, send, b), -EINVAL, "send by a VIRQ's");
	IS(DO(1, bind_vcpu, b, 0), -EINVAL, "bind_vcpu of a vCPU's VIRQ");
	IS(DO(1, bind_vcpu, a, 1), -ENOENT, "bind_vcpu to none");
	IS(DO(1, bind_vcpu, a, 0), 0, "bind_vcpu");
	IS(DO(1, close, b) | virq(1, XEN_VIRQ_TIMER, 0, &b), 0, "closed, and bound again");
	IS(DO(1, bind_ipi, .vcpu = 1), -ENOENT, "bind_ipi on no vCPU");
	IS(DO(1, bind_ipi, .vcpu = 0), 0, "bind_ipi");
	IS(pv_ports_op(&domains[1].ports, XEN_EVTCHNOP_init_control, NULL), -ENOSYS, "FIFO");
	IS(pv_ports_op(&domains[1].ports, ~0u, NULL), -ENOSYS, "no operation");
	IS(DO(1, bind_pirq, .pirq = 14), -EPERM, "a PIRQ");
	IS(DO(1, reset, 2), -EPERM, "reset of another");
	domains[2].lives = false;
	IS(status_of(1, a).status, XEN_EVTCHNSTAT_unbound, "a dead peer has let go");
	domains[2].lives = true;
	end(2);
	end(1);
}

static void
deaths(void)
{
	uint32_t a, b;

	begin(1);
	begin(2);
	unbound(1, XEN_DOMID_SELF, 2, &a);
	interdomain(2, 1, a, &b);
	end(2);
	begin(2);
	IS(status_of(1, a).status, XEN_EVTCHNSTAT_unbound, "the next with a number is another");
	IS(interdomain(2, 1, a, &b), 0, "... and may bind anew");
	IS(DO(1, reset, XEN_DOMID_SELF), 0, "reset");
	IS(status_of(2, b).status, XEN_EVTCHNSTAT_unbound, "... lets go, too");
	IS(domains[1].ports.taken, 1, "... of all");
	end(2);
	end(1);
	for (unsigned again = 0; again < 2; again++) {
		begin(1);
		begin(2);
		unbound(1, XEN_DOMID_SELF, 2, &a);
		interdomain(2, 1, a, &b);
		domains[2].lives = false;
		if (again) {
			end(1);
			begin(1);
		} else {
			DO(1, close, a);
		}
		virq(1, XEN_VIRQ_TIMER, 0, &b);
		end(2);
		IS(b << 8 | status_of(1, a).status, a << 8 | XEN_EVTCHNSTAT_virq,
		   "a dead one that goes lets go what has %s's number",
		   again ? "a dead domain" : "a closed port");
		end(1);
	}
}

static void
limits(void)
{
	uint32_t port = 0, n = 0;
	int err;

	begin(1);
	no_memory = true;
	IS(unbound(1, XEN_DOMID_SELF, 1, &port), -ENOMEM, "no memory");
	no_memory = false;
	while (!(err = unbound(1, XEN_DOMID_SELF, 1, &port)))
		n++;
	IS(err, -ENOSPC, "no port is left");
	IS(n, XEN_PORTS - 1, "... behind all");
	IS(DO(1, close, 77) | unbound(1, XEN_DOMID_SELF, 1, &port), 0, "close makes room");
	IS(port, 77, "... there");
	end(1);
}

/*
 * Whoever builds a domain may leave a port for dom0, and it is another end than a service of
 * Zeno's.
 */
static void
dom0(void)
{
	uint32_t theirs, mine;
	int service;

	begin(0);
	begin(1);
	service = pv_ports_serve(&domains[1].ports, PV_SERVICE_CONSOLE);
	theirs = (uint32_t)pv_ports_offer(&domains[1].ports, 0);
	IS(status_of(1, theirs).u.unbound.dom, 0, "a port is dom0's to bind");
	IS(interdomain(0, 1, (uint32_t)service, &mine), -EINVAL, "... a service is not");
	IS(interdomain(0, 1, theirs, &mine), 0, "... and it does");
	IS(DO(1, send, theirs) | DO(1, send, (uint32_t)service), 0, "both are sent to");
	IS(domains[0].shared.pending[0], 1ul << mine, "... and dom0 hears of its own");
	IS(domains[1].served[PV_SERVICE_CONSOLE], 1, "... and Zeno of its");
	end(0);
	domains[0].lives = false;
	IS(status_of(1, theirs).status, XEN_EVTCHNSTAT_unbound, "it waits for the next dom0");
	IS(status_of(1, (uint32_t)service).status, XEN_EVTCHNSTAT_interdomain, "... Zeno stays");
	end(1);
}

static void
bits(void)
{
	struct xen_vcpu_info *info = domains[1].shared.vcpu_info;
	int port;
	uint32_t timer;

	begin(1);
	port = pv_ports_serve(&domains[1].ports, PV_SERVICE_STORE);
	virq(1, XEN_VIRQ_TIMER, 0, &timer);
	DO(1, send, (uint32_t)port);
	IS(domains[1].served[PV_SERVICE_STORE], 1, "a service is called");
	IS(status_of(1, (uint32_t)port).u.interdomain.dom, 0, "... and is domain 0's to guests");
	pv_service_raise(&domains[1].ports, PV_SERVICE_STORE);
	IS(domains[1].shared.pending[0], 1ul << port, "... and answers");
	DO(1, close, (uint32_t)port);
	pv_service_raise(&domains[1].ports, PV_SERVICE_STORE);
	IS(domains[1].shared.pending[0], 0, "... as long as the port is open");
	info->upcall_pending = 0;
	info->pending_sel = 0;
	domains[1].told = 0;
	pv_virq_raise(&domains[1].ports, 0, XEN_VIRQ_DEBUG);
	IS(info->upcall_pending, 0, "a VIRQ that is bound to nothing");
	domains[1].shared.mask[0] = 1ul << timer;
	pv_virq_raise(&domains[1].ports, 0, XEN_VIRQ_TIMER);
	IS(domains[1].shared.pending[0], 1ul << timer, "a masked port is pending");
	IS(info->upcall_pending | info->pending_sel, 0, "... and tells nobody");
	IS(domains[1].told, 1, "... but who polls");
	IS(DO(1, unmask, timer), 0, "unmask");
	IS(info->upcall_pending << 8 | info->pending_sel, 0x101, "... tells");
	IS(domains[1].shared.mask[0], 0, "... and the mask is off");
	IS(DO(1, close, timer), 0, "close");
	IS(domains[1].shared.pending[0], 0, "... takes the pending bit");
	end(1);
}

/* ---- whatever they do ---- */

static bool
ends_agree(void)
{
	for (unsigned id = 1; id <= DOMAINS; id++)
		for (uint32_t port = 1; port < 40; port++) {
			struct xen_evtchn_status s = status_of(id, port);

			if (s.status == XEN_EVTCHNSTAT_virq &&
			    domains[id].ports.virq[0][s.u.virq] != port)
				return false;
			if (s.status != XEN_EVTCHNSTAT_interdomain)
				continue;
			s = status_of(s.u.interdomain.dom, s.u.interdomain.port);
			if (s.status != XEN_EVTCHNSTAT_interdomain || s.u.interdomain.dom != id ||
			    s.u.interdomain.port != port)
				return false;
		}
	return true;
}

static bool
none_is_lost(unsigned id)
{
	const struct xen_shared_info *s = &domains[id].shared;

	for (unsigned word = 0; word < XEN_PORTS / 64; word++)
		if (s->pending[word] & ~s->mask[word] &&
		    !(s->vcpu_info[0].pending_sel >> word & 1 && s->vcpu_info[0].upcall_pending))
			return false;
	return true;
}

/* As xen.h says that a guest does it. */
static void
take_events(unsigned id)
{
	struct xen_shared_info *s = &domains[id].shared;
	uint64_t selected;

	if (!s->vcpu_info[0].upcall_pending)
		return;
	s->vcpu_info[0].upcall_pending = 0;
	selected = s->vcpu_info[0].pending_sel;
	s->vcpu_info[0].pending_sel = 0;
	for (unsigned word = 0; word < XEN_PORTS / 64; word++)
		if (selected >> word & 1)
			s->pending[word] &= s->mask[word];
}

static void
act(unsigned id)
{
	uint32_t port = draw(40), other;

	switch (draw(12)) {
	case 0:
		unbound(id, XEN_DOMID_SELF, (uint16_t)draw(5), &other);
		break;
	case 1:
	case 2:
		interdomain(id, (uint16_t)draw(5), port, &other);
		break;
	case 3:
		virq(id, draw(26), draw(2), &other);
		break;
	case 4:
		DO(id, bind_ipi, .vcpu = 0);
		break;
	case 5:
		DO(id, close, port);
		break;
	case 6:
		domains[id].shared.mask[0] |= 1ul << port;
		break;
	case 7:
		DO(id, unmask, port);
		break;
	case 8:
		take_events(id);
		break;
	case 9:
		pv_virq_raise(&domains[id].ports, 0, draw(XEN_VIRQS));
		break;
	default:
		DO(id, send, port);
	}
}

static void
anything(void)
{
	unsigned bad = 0, lost = 0;

	for (unsigned id = 1; id <= DOMAINS; id++)
		begin(id);
	for (unsigned n = 0; n < ROUNDS && !bad && !lost; n++) {
		unsigned id = 1 + draw(DOMAINS);

		if (draw(500)) {
			act(id);
		} else {
			end(id);
			begin(id);
		}
		lost += !none_is_lost(1 + draw(DOMAINS));
		if (n % 16 == 0)
			bad += !ends_agree();
	}
	IS(bad, 0, "ends know each other, whatever three domains do");
	IS(lost, 0, "and no event is lost");
	for (unsigned id = 1; id <= DOMAINS; id++)
		end(id);
}

int
main(void)
{
	answers();
	deaths();
	limits();
	dom0();
	bits();
	anything();
	return done_testing();
}

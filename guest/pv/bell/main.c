/*
 * Ports, and no clock: a domain's own; with `peer=N` it listens for domain N, with `port=M`, too,
 * it calls that port of N's.
 */
#include <guest/pv/lib/events.h>

int guest_main(const struct xen_start_info *info);

static unsigned came[64];

static void
take_events(struct pv_frame *f)
{
	int port;

	if (f->vector != PV_EVENT) {
		pv_printf("exception %lu at %lx\n", f->vector, f->rip);
		pv_exit(1);
	}
	while ((port = pv_event_next()) >= 0)
		came[port % 64]++;
}

static void
give_up_turn(void)
{
	pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
}

static uint32_t
open_for(uint16_t peer)
{
	struct xen_evtchn_alloc_unbound a = { XEN_DOMID_SELF, peer, 0 };
	int64_t err = pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a);

	if (err)
		pv_printf("no port: %ld\n", err);
	return err ? 0 : a.port;
}

static void
own(void)
{
	uint32_t first = open_for(1), second = open_for(1), third = open_for(1);
	struct xen_evtchn_close close = { second };
	struct xen_evtchn_bind_ipi ipi = { 0 };
	int64_t closed, gone;

	pv_printf("ports %u, %u, %u; sent to where nobody listens: %ld\n", first, second, third,
		  pv_send(first));
	closed = pv_event_op(XEN_EVTCHNOP_close, &close);
	gone = pv_send(second);
	pv_printf("closed: %ld; sent there: %ld; the next new port: %u\n", closed, gone,
		  open_for(1));
	pv_event_op(XEN_EVTCHNOP_bind_ipi, &ipi);
	pv_vcpu->upcall_mask = 1;
	pv_send(ipi.port);
	pv_send(ipi.port);
	pv_send(ipi.port);
	pv_printf("three events, masked: %u upcalls\n", came[ipi.port]);
	pv_unmask();
	pv_printf("unmasked: %u\n", came[ipi.port]);
	pv_shared->mask[0] |= 1ul << ipi.port;
	pv_send(ipi.port);
	pv_printf("its port masked: %u\n", came[ipi.port]);
	pv_event_op(XEN_EVTCHNOP_unmask, &ipi.port);
	pv_printf("... and unmasked: %u\n", came[ipi.port]);
}

static void
listen(uint16_t peer)
{
	uint32_t port = open_for(peer);

	pv_printf("listening at port %u for d%u\n", port, peer);
	pv_vcpu->upcall_mask = 1;
	while (!came[port])
		pv_block();
	pv_printf("ping from d%u\n", pv_status(port).u.interdomain.dom);
	pv_send(port);
	while (pv_status(port).status == XEN_EVTCHNSTAT_interdomain)
		give_up_turn();
	pv_printf("d%u has ended, and port %u waits for the next\n", pv_status(port).u.unbound.dom,
		  port);
}

static void
call(uint16_t peer, uint32_t remote)
{
	struct xen_evtchn_bind_interdomain b = { .remote_dom = peer, .remote_port = remote };

	while (pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b))
		give_up_turn();
	pv_unmask(); /* the port is pending once, since it is new */
	pv_vcpu->upcall_mask = 1;
	pv_send(b.local_port);
	while (came[b.local_port] < 2)
		pv_block();
	pv_printf("pong from d%u\n", peer);
}

int
guest_main(const struct xen_start_info *info)
{
	unsigned peer, port;

	pv_init(info);
	peer = pv_number("peer=");
	port = pv_number("port=");
	pv_take_traps();
	pv_handler = take_events;
	pv_events_init();
	if (port)
		call((uint16_t)peer, port);
	else if (peer)
		listen((uint16_t)peer);
	else
		own();
	return 0;
}

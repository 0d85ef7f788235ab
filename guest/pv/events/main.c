/*
 * Events and time, shown one by one; `peer=N` in its words: with another domain, as its listener or
 * its caller; `harm=...`: hostile.c.
 */
#include <guest/pv/events/events.h>
#include <inc/xen_grants.h>
#include <inc/xen_rings.h>

int guest_main(const struct xen_start_info *info);

#define MS 1000000ul

unsigned came[64];     /* upcalls' ports, how often each */
static unsigned calls; /* upcalls */

void
take_events(struct pv_frame *f)
{
	int port;

	check(f->vector == PV_EVENT && pv_vcpu->upcall_mask == 1, "an upcall, masked", f->vector);
	if (f->vector != PV_EVENT)
		pv_exit(1);
	calls++;
	while ((port = pv_event_next()) >= 0)
		came[port % 64]++;
}

uint32_t
bind_virq(uint32_t virq)
{
	struct xen_evtchn_bind_virq b = { .virq = virq };

	check(!pv_event_op(XEN_EVTCHNOP_bind_virq, &b), "bind_virq", virq);
	return b.port;
}

/* Both ends of one that leads to itself. */
static void
loopback(uint32_t *from, uint32_t *to)
{
	struct xen_evtchn_alloc_unbound a = { XEN_DOMID_SELF, XEN_DOMID_SELF, 0 };
	struct xen_evtchn_bind_interdomain b = { .remote_dom = XEN_DOMID_SELF };

	check(!pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a), "alloc_unbound", 0);
	b.remote_port = *to = a.port;
	check(!pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b), "bind_interdomain", 0);
	*from = b.local_port;
}

static void
channels(void)
{
	struct xen_evtchn_unmask open;
	struct xen_evtchn_bind_ipi ipi = { 0 };
	uint32_t from, to;

	loopback(&from, &to);
	check(pv_shared->pending[0] == 1ul << from, "bound: pending", pv_shared->pending[0]);
	check(!calls, "masked at first", calls);
	pv_unmask();
	check(came[from] == 1 && calls == 1, "unmasked: it comes", calls);
	pv_send(from);
	check(came[to] == 1 && calls == 2, "sent: it comes at once", calls);
	pv_vcpu->upcall_mask = 1;
	pv_send(from);
	pv_send(from);
	check(calls == 2, "masked: no upcall", calls);
	pv_unmask();
	check(came[to] == 2 && calls == 3, "unmasked: one for both", calls);
	pv_shared->mask[0] = 1ul << to;
	pv_send(from);
	check(calls == 3 && pv_shared->pending[0], "a masked port is pending, and no upcall",
	      calls);
	open.port = to;
	pv_event_op(XEN_EVTCHNOP_unmask, &open);
	check(came[to] == 3 && calls == 4, "unmask tells of it", calls);
	check(!pv_event_op(XEN_EVTCHNOP_bind_ipi, &ipi), "bind_ipi", 0);
	pv_send(ipi.port);
	check(came[ipi.port] == 1, "an IPI to itself", ipi.port);
	pv_printf("channels: %u upcalls\n", calls);
}

static void
timers(uint32_t timer)
{
	struct xen_vcpu_set_periodic_timer period = { 2 * MS };
	uint64_t began, until = pv_now() + 3 * MS;
	unsigned before = came[timer];

	check(!pv_timer(until), "set_singleshot_timer", 0);
	pv_vcpu->upcall_mask = 1;
	while (came[timer] == before) { /* block opens the mask */
		pv_block();
		pv_vcpu->upcall_mask = 1;
	}
	check(pv_now() >= until, "not before its time", until - pv_now());
	pv_printf("timer: it slept until then\n");
	pv_timer(1);
	pv_unmask();
	check(came[timer] == before + 2, "in the past: at once", came[timer]);
	began = pv_now(); /* before they begin: behind that, a part of the first may be over */
	check(!pv_call(XEN_vcpu_op, XEN_VCPUOP_set_periodic_timer, 0, (uint64_t)&period, 0),
	      "set_periodic_timer", 0);
	while (came[timer] < before + 7) {
		if (pv_is_dom0()) /* Xen stops it while a vCPU sleeps */
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
		else
			pv_block();
	}
	pv_call(XEN_vcpu_op, XEN_VCPUOP_stop_periodic_timer, 0, 0, 0);
	check(pv_now() >= began + (pv_is_dom0() ? 4 : 5) * 2 * MS, /* Xen's first is over */
	      "five periods", pv_now() - began);
	pv_call(XEN_set_timer_op, pv_now() + MS, 0, 0, 0);
	pv_call(XEN_set_timer_op, 0, 0, 0, 0);
	before = came[timer];
	pv_poll(0, pv_now() + 3 * MS);
	check(came[timer] == before, "stopped timers are silent", came[timer]);
	pv_printf("timers: one, in the past, periods, stopped\n");
}

static void
polls(uint32_t timer)
{
	uint64_t until = pv_now() + 3 * MS;

	pv_vcpu->upcall_mask = 1;
	pv_poll(timer, until);
	check(pv_now() >= until, "poll waits for its time", until - pv_now());
	pv_timer(pv_now() + 2 * MS);
	while (!(pv_shared->pending[timer / 64] >> timer % 64 & 1))
		pv_poll(timer, 0);
	check(!pv_poll(timer, 0), "a pending port: at once", 0);
	pv_unmask();
	pv_printf("poll: a time, a port, at once\n");
}

static void
clock(void)
{
	uint64_t last = pv_now();

	for (unsigned n = 0; n < 3000; n++) {
		uint64_t now = pv_now();

		check(now >= last, "time goes on", last - now);
		last = now;
		if (n % 100 == 0)
			pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
	}
	check(!(pv_shared->wc_version & 1) && pv_shared->wc_sec >= 946684800, "the date",
	      pv_shared->wc_sec);
	pv_printf("clock: it never goes back\n");
}

/* The vcpu_info goes elsewhere, and the events with it. */
static void
placed(void)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));
	static struct xen_vcpu_runstate_info state;
	uint64_t at = (uint64_t)&state;
	struct xen_vcpu_register_vcpu_info place = { pv_page(page), 4096 - 64, 0 };
	struct xen_evtchn_bind_ipi ipi = { 0 };

	pv_vcpu->upcall_mask = 1; /* an event comes with it, which is to be looked for there */
	check(!pv_call(XEN_vcpu_op, XEN_VCPUOP_register_vcpu_info, 0, (uint64_t)&place, 0),
	      "register_vcpu_info", 0);
	pv_vcpu = (void *)(page + 4096 - 64);
	pv_unmask();
	pv_event_op(XEN_EVTCHNOP_bind_ipi, &ipi);
	pv_send(ipi.port);
	check(came[ipi.port] == 1, "events come there", ipi.port);
	check(pv_call(XEN_vcpu_op, XEN_VCPUOP_register_vcpu_info, 0, (uint64_t)&place, 0) == -22,
	      "register_vcpu_info, again", 0);
	check(!pv_call(XEN_vcpu_op, XEN_VCPUOP_register_runstate_memory_area, 0, (uint64_t)&at, 0),
	      "register_runstate_memory_area", 0);
	pv_poll(0, pv_now() + 3 * MS);
	check(state.state == XEN_RUNSTATE_running && state.time[XEN_RUNSTATE_blocked] >= 3 * MS &&
		      state.time[XEN_RUNSTATE_running],
	      "runstates", state.time[XEN_RUNSTATE_blocked]);
	pv_printf("placed: vcpu_info, runstate\n");
}

/* Console and store are pages of its own; the grant table is Zeno's, and it may map that. */
static void
served(void)
{
	static uint8_t table[4096] __attribute__((aligned(4096)));
	static const char said[] = "rings: console";
	struct xen_console_ring *console = pv_machine_page(pv_info->console_mfn);
	struct xen_store_ring *store = pv_machine_page(pv_info->store_mfn);
	struct xen_xsd_sockmsg ask = { .type = 1, .req_id = 77, .len = 0 },
			       *got = (void *)store->rsp;
	uint64_t frame = 0;
	struct xen_gnttab_setup_table setup = { XEN_DOMID_SELF, 1, 9, (uint64_t)&frame };

	for (const char *at = said; *at; at++)
		console->out[console->out_prod++ % 2048] = (uint8_t)*at;
	pv_send(pv_info->console_evtchn);
	check(console->out_cons == sizeof(said) - 1, "the console takes it", console->out_cons);
	for (unsigned n = 0; n < sizeof(ask); n++)
		store->req[store->req_prod++] = ((uint8_t *)&ask)[n];
	pv_send(pv_info->store_evtchn);
	check(store->rsp_prod == 23 && got->type == XEN_XS_ERROR && got->req_id == 77,
	      "the store has nothing", store->rsp_prod);
	check(came[pv_info->store_evtchn] == 1, "... and says so", 0);
	check(!pv_call(XEN_grant_table_op, XEN_GNTTABOP_setup_table, (uint64_t)&setup, 1, 0) &&
		      !setup.status && !pv_map(table, frame << 12 | PTE_P | PTE_W | PTE_U),
	      "setup_table", frame);
	table[0] = 1;
	store->req_prod += 5000;
	pv_send(pv_info->store_evtchn);
	console->out_prod += 5000;
	pv_send(pv_info->console_evtchn);
	check(store->error == XEN_STORE_ERROR_RINGIDX, "a ring that can't be is told",
	      store->error);
	setup.nr_frames = ~0u;
	check(!pv_call(XEN_grant_table_op, XEN_GNTTABOP_setup_table, (uint64_t)&setup, 1, 0) &&
		      setup.status == XEN_GNTST_general_error,
	      "a grant table without end", 0);
	check(pv_call(XEN_grant_table_op, XEN_GNTTABOP_setup_table, 0, 1, 0) == -14, "... nowhere",
	      0);
	pv_printf(", store, grant table\n");
}

/* ---- two of them ---- */

/* It rings a domain that polls the port, once that has rung; which sleeps by then, or will not. */
static void
ring(uint32_t bell)
{
	while (!came[bell])
		pv_poll(0, pv_now() + MS);
	pv_send(bell);
}

/* Asleep for this port alone, its upcall masked: nothing but the other domain wakes it. */
static void
polls_peer(uint16_t peer, uint32_t remote)
{
	struct xen_evtchn_bind_interdomain b = { .remote_dom = peer, .remote_port = remote };

	pv_vcpu->upcall_mask = 1;
	check(!pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b), "bind_interdomain", remote);
	pv_shared->pending[0] = 0; /* it is pending once, since it is new */
	pv_send(b.local_port);
	while (!(pv_shared->pending[0] >> b.local_port & 1))
		pv_poll(b.local_port, 0);
	pv_printf("polled port %u, which d%u has rung\n", b.local_port, peer);
}

static void
listen(uint16_t peer)
{
	struct xen_evtchn_alloc_unbound a = { XEN_DOMID_SELF, peer, 0 }, bell = a;

	pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a);
	pv_event_op(XEN_EVTCHNOP_alloc_unbound, &bell);
	pv_printf("listening at port %u for d%u\n", a.port, peer);
	pv_vcpu->upcall_mask = 1;
	while (came[a.port] < 3)
		pv_block();
	pv_printf("ping from d%u\n", pv_status(a.port).u.interdomain.dom);
	pv_send(a.port);
	ring(bell.port);
	while (pv_status(a.port).status == XEN_EVTCHNSTAT_interdomain)
		pv_poll(0, pv_now() + MS);
	pv_printf("d%u has ended, and port %u waits for the next\n",
		  pv_status(a.port).u.unbound.dom, a.port);
}

/* Each ping is one only when the last one has been taken: it asks by its own time. */
static void
call(uint16_t peer, uint32_t remote)
{
	struct xen_evtchn_bind_interdomain b = { .remote_dom = peer, .remote_port = remote };

	while (pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b))
		pv_poll(0, pv_now() + MS);
	pv_unmask(); /* the port is pending once, since it is new */
	while (came[b.local_port] < 2) {
		pv_send(b.local_port);
		pv_poll(0, pv_now() + MS);
	}
	pv_printf("pong from d%u\n", peer);
	polls_peer(peer, remote + 1);
}

int
guest_main(const struct xen_start_info *info)
{
	unsigned peer, port;
	uint32_t timer;

	pv_init(info);
	peer = pv_number("peer=");
	port = pv_number("port=");
	pv_take_traps();
	pv_handler = take_events;
	pv_events_init();
	if (harm(info->cmd_line))
		return (int)wrong;
	if (port) {
		call((uint16_t)peer, port);
	} else if (peer) {
		listen((uint16_t)peer);
	} else {
		channels();
		timer = bind_virq(XEN_VIRQ_TIMER);
		timers(timer);
		polls(timer);
		clock();
		if (!pv_is_dom0())
			served();
		placed();
		pv_printf("%u wrong; the end\n", wrong);
	}
	return (int)wrong;
}

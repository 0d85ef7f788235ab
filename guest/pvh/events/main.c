/*
 * A guest with a CPU of its own and events: by the page that it shares with Zeno, ports, and an
 * upcall that is an interrupt of its CPU's. `harm` tries what it must not have.
 */
#include <guest/pv/lib/check.h>
#include <guest/pv/lib/text.h>
#include <guest/pvh/lib/pvh.h>
#include <inc/xen_rings.h>
#include <inc/xen_vcpu.h>

#define EBUSY  (-16)
#define EINVAL (-22)
#define MS     1000000ul
#define ROUNDS 500u

int guest_main(const struct xen_start_info *info);

static volatile unsigned upcalls, seen[XEN_PORTS];
static uint8_t pages[16][4096] __attribute__((aligned(4096)));

static void
handler(struct pv_frame *f)
{
	int port;

	if (f->vector != PV_EVENT) {
		pv_printf("exception %lu, error code %lx, at %lx\n", f->vector, f->error, f->rip);
		pv_exit(1);
	}
	upcalls++;
	while ((port = pv_event_next()) >= 0)
		seen[port]++;
}

static void
interrupts(bool on)
{
	if (!on) {
		__asm__ volatile("cli" : : : "memory");
		return;
	}
	__asm__ volatile("sti" : : : "memory");
	/* an exit that comes in its shadow may put off what waits to the next one */
	pv_call(XEN_xen_version, XEN_XENVER_version, 0, 0, 0);
}

static uint64_t
gfn_of(const void *page)
{
	return (uint64_t)page >> 12;
}

static uint32_t
ipi(void)
{
	struct xen_evtchn_bind_ipi b = { 0, 0 };

	check(!pv_event_op(XEN_EVTCHNOP_bind_ipi, &b), "bind_ipi", b.port);
	return b.port;
}

/* One by one, masked by the flag and by the port, and a thousand. */
static void
to_itself(uint32_t port)
{
	struct xen_evtchn_unmask unmask = { port };
	volatile uint64_t *mask = &pv_shared->mask[port / 64];
	unsigned n;

	interrupts(true);
	pv_send(port);
	check(seen[port] == 1 && upcalls == 1, "the first one", seen[port]);
	interrupts(false);
	pv_send(port);
	pv_send(port);
	check(seen[port] == 1, "not without IF", seen[port]);
	interrupts(true);
	check(seen[port] == 2, "two are one, behind sti", seen[port]);
	*mask |= 1ul << port % 64;
	pv_send(port);
	check(seen[port] == 2, "not while it is masked", seen[port]);
	check(!pv_event_op(XEN_EVTCHNOP_unmask, &unmask) && seen[port] == 3, "unmask looks again",
	      seen[port]);
	for (n = 0; n < ROUNDS; n++)
		pv_send(port);
	check(seen[port] == 3 + ROUNDS, "each of many", seen[port]);
	check(upcalls == seen[port], "an upcall for each, and none for nothing", upcalls);
	pv_printf("to itself: %u of %u, none lost, none twice\n", seen[port] - 3, ROUNDS);
}

/* Without IF until it sleeps: what comes before that is not slept over. */
static void
sleep(bool halts)
{
	if (halts) {
		__asm__ volatile("sti; hlt; cli" : : : "memory");
		return;
	}
	pv_block();
	interrupts(true);
	interrupts(false);
}

/* It waits by block, and by hlt. */
static void
timer(void)
{
	struct xen_evtchn_bind_virq b = { XEN_VIRQ_TIMER, 0, 0 };
	uint64_t before = pv_now();

	check(!pv_event_op(XEN_EVTCHNOP_bind_virq, &b), "bind_virq", b.port);
	for (unsigned n = 1; n <= 4; n++) {
		interrupts(false);
		check(!pv_timer(pv_now() + 2 * MS), "a timer", n);
		while (seen[b.port] < n)
			sleep(n % 2);
	}
	check(pv_now() - before >= 8 * MS, "the time", pv_now() - before);
	check(pv_shared->wc_sec, "the date", pv_shared->wc_sec);
	pv_printf("timer: %u times, by block and by hlt\n", seen[b.port]);
	interrupts(true);
}

/* Where it wants to see them: to sleep is to be blocked, by either way, and behind that it runs. */
static void
runstates(void)
{
	static volatile struct xen_vcpu_runstate_info state;
	uint64_t at = (uint64_t)&state, slept;
	unsigned n;

	check(!pv_call(XEN_vcpu_op, XEN_VCPUOP_register_runstate_memory_area, 0, (uint64_t)&at, 0),
	      "register_runstate_memory_area", 0);
	for (unsigned halts = 0; halts < 2; halts++) {
		slept = state.time[XEN_RUNSTATE_blocked];
		for (n = 0; n < 1000 && state.time[XEN_RUNSTATE_blocked] == slept; n++) {
			interrupts(false);
			pv_timer(pv_now() + MS);
			sleep(halts);
			interrupts(true);
		}
		check(n < 1000, halts ? "blocked by hlt" : "blocked by block", n);
		check(state.state == XEN_RUNSTATE_running, "awake", (uint64_t)state.state);
	}
}

/* What libxl's special pages are: rings, and ports that lead to who serves them. */
static void
rings(void)
{
	static const char text[] = "a line by the console's ring\n";
	volatile struct xen_console_ring *r;
	uint64_t console = 0, store = 0, port = 0;

	check(!pvh_param(XEN_HVM_PARAM_CONSOLE_PFN, &console) &&
		      !pvh_param(XEN_HVM_PARAM_STORE_PFN, &store),
	      "their frames", console);
	check(!pvh_param(XEN_HVM_PARAM_CONSOLE_EVTCHN, &port) && port, "a port", port);
	r = (void *)(console << 12);
	for (unsigned n = 0; n < sizeof(text) - 1; n++)
		r->out[r->out_prod++] = text[n];
	pv_send((uint32_t)port);
	for (unsigned n = 0; n < 100000 && r->out_cons != r->out_prod; n++)
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0); /* dom0 may have that end */
	check(r->out_cons == r->out_prod, "all of it is taken", r->out_cons);
	check(((struct xen_store_ring *)(store << 12))->server_features, "the store's words", 0);
	check(pvh_param(XEN_HVM_PARAM_STORE_EVTCHN, &port) == 0 && port, "a port", port);
	check(pvh_param(5, &port) == EINVAL, "no parameter", port);
}

/* Elsewhere, once; and that frame stays its own as long as Zeno writes there. */
static void
placed(uint32_t port)
{
	struct xen_vcpu_register_vcpu_info place = { gfn_of(pages[0]), 128, 0 };
	unsigned before = seen[port];

	interrupts(false);
	check(!pv_call(XEN_vcpu_op, XEN_VCPUOP_register_vcpu_info, 0, (uint64_t)&place, 0),
	      "vcpu_info in a page of its own", place.mfn);
	pv_vcpu = (void *)(pages[0] + 128);
	interrupts(true);
	pv_send(port);
	check(seen[port] == before + 1, "events come by it", seen[port]);
	check(pv_call(XEN_vcpu_op, XEN_VCPUOP_register_vcpu_info, 0, (uint64_t)&place, 0) == EINVAL,
	      "once alone", 0);
	check(pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(pages[0])) == EBUSY,
	      "a frame that Zeno writes stays", 0);
}

/* It moves, and each place that it leaves is memory as new. */
static void
moved(uint32_t port)
{
	volatile struct xen_shared_info *at = pv_shared;
	unsigned before = seen[port];

	for (unsigned n = 0; n < ROUNDS; n++) {
		uint8_t *page = pages[1 + n % 15];

		memset(page, (int)n, 4096);
		check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(page)), "it moves", n);
		check(at->wc_sec == 0 && at->mask[7] == 0, "what was there is gone", n);
		((volatile uint64_t *)at)[100] = n; /* nobody's but the guest's */
		at = (void *)page;
		check(at->wc_sec != 0, "it is here", n);
		at->mask[7] = n;
	}
	check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of((void *)at)), "where it is", 0);
	check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, 0x107fff), "beyond 4 GiB", 0);
	check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of((void *)pv_shared)), "back", 0);
	check(pv_shared->mask[7] == ROUNDS - 1, "it is the same one", pv_shared->mask[7]);
	pv_send(port);
	check(seen[port] == before + 1, "events come still", seen[port]);
}

static void
refused(void)
{
	uint64_t console = 0;

	pvh_param(XEN_HVM_PARAM_CONSOLE_PFN, &console);
	const uint64_t bad[] = { 0xa0,     0xff,     0xfee00,   0xfec00,   console, console + 1,
				 0x120000, 1u << 28, 1ul << 40, 1ul << 52, ~0ul,    0xfffff };

	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		struct xen_vcpu_register_vcpu_info place = { bad[n], 0, 0 };

		check(pvh_show(XEN_XENMAPSPACE_shared_info, 0, bad[n]) < 0, "the page there",
		      bad[n]);
		if (bad[n] != console && bad[n] != console + 1)
			check(pv_call(XEN_vcpu_op, XEN_VCPUOP_register_vcpu_info, 0,
				      (uint64_t)&place, 0) < 0,
			      "vcpu_info there", bad[n]);
	}
	check(pvh_show(XEN_XENMAPSPACE_shared_info, 1, gfn_of(pages[3])) == EINVAL, "no second", 0);
	for (unsigned space = 2; space < 16; space++)
		check(pvh_show(space, 0, gfn_of(pages[3])) < 0, "no such space", space);
	for (unsigned domid = 0; domid < 20; domid++) {
		const struct xen_add_to_physmap of = { .domid = (uint16_t)domid,
						       .gpfn = gfn_of(pages[3]) };
		struct xen_hvm_param p = { .domid = (uint16_t)domid,
					   .index = XEN_HVM_PARAM_STORE_PFN };

		check(pvh_memory_op(XEN_XENMEM_add_to_physmap, &of) < 0, "another's", domid);
		check(pv_call(XEN_hvm_op, XEN_HVMOP_get_param, (uint64_t)&p, 0, 0) < 0,
		      "another's parameter", domid);
	}
	for (unsigned n = 1; n < 64; n++) {
		struct xen_hvm_param p = { .domid = XEN_DOMID_SELF, .index = n, .value = ~0ul };

		check(pv_call(XEN_hvm_op, XEN_HVMOP_set_param, (uint64_t)&p, 0, 0) < 0,
		      "a parameter that is not its to set", n);
	}
	check(pvh_set_callback(5) == EINVAL, "a line", 0);
	check(pvh_set_callback((uint64_t)XEN_HVM_CALLBACK_VECTOR << XEN_HVM_CALLBACK_TYPE_SHIFT |
			       13) == EINVAL,
	      "the vector of an exception", 0);
}

/* The page that it shares says anything; and is where its own code expects another one. */
static void
harm(uint32_t port)
{
	interrupts(false);
	for (unsigned k = 0; k < sizeof(*pv_shared) / 8; k++)
		((volatile uint64_t *)pv_shared)[k] = k & 1 ? ~0ul : 0x5aa55aa55aa55aa5;
	memset((void *)pv_vcpu, 0xff, sizeof(*pv_vcpu));
	for (uint32_t p = 0; p < 5000; p += 7)
		pv_send(p);
	pv_send(port);
	pv_vcpu->upcall_mask = 1;
	pv_timer(pv_now());
	check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(pages[2])), "pulled away", 0);
	pv_event_next();
	pv_send(port);
	check(!pvh_set_callback(0), "no upcall any more", 0);
	pv_vcpu->upcall_mask = 0;
	interrupts(true);
	pv_send(port);
	check(!pvh_show(XEN_XENMAPSPACE_shared_info, 0, gfn_of(harm)), "in its own code", 0);
	pv_printf("not reached\n");
}

int
guest_main(const struct xen_start_info *info)
{
	uint32_t port;

	(void)info;
	pv_handler = handler;
	pvh_events_init();
	port = ipi();
	to_itself(port);
	timer();
	runstates();
	rings();
	refused();
	placed(port);
	moved(port);
	pv_printf("wrong: %u\n", wrong);
	if (has_word("harm"))
		harm(port);
	return wrong;
}

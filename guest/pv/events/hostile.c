/*
 * What must be refused, do no harm to others, or be the guest's own end: `harm=WORD`.
 */
#include <guest/pv/events/events.h>
#include <guest/pv/lib/text.h>
#include <inc/xen_rings.h>

#define DIRECT 0xffff830000000000ul
#define EFAULT (-14)
#define MS     1000000ul

static uint64_t words[4];

static void
pointers(void)
{
	static const uint64_t bad[] = {
		0, 0x1000, DIRECT, 0xffff87fffffffff8, 0x7ffffffffffc, 0x800000000000, ~0ul - 2
	};

	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		for (unsigned op = 0; op <= XEN_EVTCHNOP_reset; op++)
			check(pv_call(XEN_event_channel_op, op, bad[n], 0, 0) == EFAULT,
			      "event_channel_op", (uint64_t)op << 56 ^ bad[n]);
		for (unsigned op = 4; op <= XEN_VCPUOP_register_vcpu_info; op++)
			check(op == 7 || op == 9 ||
				      pv_call(XEN_vcpu_op, op, 0, bad[n], 0) == EFAULT,
			      "vcpu_op", (uint64_t)op << 56 ^ bad[n]);
		check(pv_call(XEN_sched_op, XEN_SCHEDOP_poll, bad[n], 0, 0) == EFAULT, "poll",
		      bad[n]);
		words[0] = bad[n];
		words[1] = 2;
		check(pv_call(XEN_sched_op, XEN_SCHEDOP_poll, (uint64_t)words, 0, 0) == EFAULT,
		      "ports of poll", bad[n]);
		words[0] = bad[n];
		check(!pv_call(XEN_vcpu_op, XEN_VCPUOP_register_runstate_memory_area, 0,
			       (uint64_t)words, 0),
		      "a runstate that is nowhere", bad[n]);
		pv_call(XEN_sched_op, XEN_SCHEDOP_yield, 0, 0, 0);
	}
	check(pv_call(XEN_event_channel_op, XEN_EVTCHNOP_bind_ipi, pv_info->pt_base, 0, 0) ==
		      EFAULT,
	      "an answer into a page table", 0);
}

/* Frames that are none, not its own, page tables, and places over a page's end. */
static void
places(void)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));
	struct xen_vcpu_register_vcpu_info bad[] = {
		{ pv_page(page), 4096 - 56, 0 },
		{ pv_page(page), ~0u, 0 },
		{ pv_page(page), 4, 0 },
		{ ~0ul, 0, 0 },
		{ 1ul << 40, 0, 0 },
		{ 0x100, 0, 0 },
		{ pv_page((void *)pv_info->pt_base), 0, 0 },
	};

	for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++)
		check(pv_call(XEN_vcpu_op, XEN_VCPUOP_register_vcpu_info, 0, (uint64_t)&bad[n], 0) <
			      0,
		      "vcpu_info there", n);
	check(pv_call(XEN_vcpu_op, XEN_VCPUOP_is_up, 1, 0, 0) == -2, "no second vCPU", 0);
	check(pv_call(XEN_vcpu_op, XEN_VCPUOP_is_up, 1ul << 32, 0, 0) == 1, "32 bits of it", 0);
}

/* All ports that there are, and each of them sent to; the page that says so is scribbled over. */
static void
all_ports(void)
{
	struct xen_evtchn_alloc_unbound a = { XEN_DOMID_SELF, XEN_DOMID_SELF, 0 };
	unsigned n = 0;
	int64_t err;

	while (!(err = pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a)))
		n++;
	check(err == -28 && n == XEN_PORTS - 4 /* the timer, console, store */, "all ports", n);
	for (unsigned k = 0; k < sizeof(*pv_shared) / 8; k++)
		((volatile uint64_t *)pv_shared)[k] = k & 1 ? ~0ul : 0x5aa55aa55aa55aa5;
	pv_vcpu->upcall_mask = 1;
	for (uint32_t port = 0; port < 5000; port += 7)
		pv_send(port);
	words[0] = XEN_DOMID_SELF;
	check(!pv_event_op(XEN_EVTCHNOP_reset, words), "reset", 0);
	check(pv_poll(0, pv_now()) == 0, "poll", 0);
}

static void
timers(void)
{
	static const uint64_t times[] = {
		1, ~0ul, 1ul << 63, (1ul << 63) - 1, 1ul << 62, 1ul << 50
	};
	struct xen_vcpu_set_periodic_timer period = { 1 };
	struct xen_multicall_entry block = { .op = XEN_sched_op, .args = { XEN_SCHEDOP_block } };
	uint32_t timer = bind_virq(XEN_VIRQ_TIMER);

	pv_vcpu->upcall_mask = 1;
	for (unsigned n = 0; n < sizeof(times) / sizeof(times[0]); n++) {
		check(!pv_timer(times[n]), "a timer", times[n]);
		check(!pv_call(XEN_set_timer_op, times[n], 0, 0, 0), "set_timer_op", times[n]);
		pv_poll(0, pv_now() + MS);
	}
	check(pv_call(XEN_vcpu_op, XEN_VCPUOP_set_periodic_timer, 0, (uint64_t)&period, 0) == -22,
	      "a period of 1 ns", 0);
	period.period_ns = ~0ul;
	check(pv_call(XEN_vcpu_op, XEN_VCPUOP_set_periodic_timer, 0, (uint64_t)&period, 0) == -22,
	      "a period for ever", 0);
	pv_call(XEN_multicall, (uint64_t)&block, 1, 0, 0);
	check((int64_t)block.result == -22, "block in a multicall", block.result);
	check(timer < 64, "its port", timer);
}

static void
refused(void)
{
	pointers();
	places();
	timers();
	all_ports();
	pv_printf("%u wrong; the end\n", wrong);
}

/* Ends of lines, as many as a call takes: by the ring, and by many calls at once. */
static void
lines(void)
{
	static struct xen_multicall_entry many[64];
	static uint8_t ends[128];
	struct xen_console_ring *console = pv_machine_page(pv_info->console_mfn);

	memset(ends, '\n', sizeof(ends));
	memset(console->out, '\n', sizeof(console->out));
	console->out_prod = console->out_cons + sizeof(console->out);
	check(!pv_send(pv_info->console_evtchn) && console->out_cons == console->out_prod,
	      "all of a ring", console->out_cons);
	for (unsigned n = 0; n < 64; n++)
		many[n] = (struct xen_multicall_entry){ .op = XEN_console_io,
							.result = 1,
							.args = { XEN_CONSOLEIO_write, sizeof(ends),
								  (uint64_t)ends } };
	check(!pv_call(XEN_multicall, (uint64_t)many, 64, 0, 0), "many at once", 0);
	for (unsigned n = 0; n < 64; n++)
		check(!many[n].result, "... of which each is done", n);
	pv_printf("lines: %u wrong; the end\n", wrong);
}

/* An event, and nowhere to take it */
static void
callback_at(uint64_t at)
{
	struct xen_evtchn_bind_ipi ipi = { 0 };

	pv_call(XEN_set_callbacks, at, 0, 0, 0);
	pv_event_op(XEN_EVTCHNOP_bind_ipi, &ipi);
	pv_send(ipi.port);
	pv_vcpu->upcall_mask = 0;
	pv_call(XEN_xen_version, XEN_XENVER_version, 0, 0, 0);
	pv_printf("still there\n");
}

/* In each handler the next one is due: it never comes to anything else. */
static void
again(struct pv_frame *f)
{
	take_events(f);
	pv_timer(1);
}

static void
storm(void)
{
	bind_virq(XEN_VIRQ_TIMER);
	pv_handler = again;
	pv_vcpu->upcall_mask = 0;
	for (;;)
		pv_timer(1);
}

static void
sleep(void)
{
	for (;;)
		pv_poll(0, 0);
}

bool
harm(const char *word)
{
	while (*word && !(word[0] == 'm' && word[1] == '='))
		word++;
	switch (*word ? word[2] : 0) {
	case 0:
		return false;
	case 'a': /* all */
		refused();
		break;
	case 'n': /* no callback */
		callback_at(0);
		break;
	case 'h': /* hole */
		callback_at(DIRECT);
		break;
	case 'l': /* lines */
		lines();
		break;
	case 's': /* storm */
		storm();
		break;
	default:
		sleep();
	}
	return true;
}

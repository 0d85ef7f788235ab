/*
 * dom0's kernel: it begins, and looks for what there is to do, for ever.
 */
#include <guest/dom0/dom0.h>
#include <guest/dom0/ide.h>
#include <guest/dom0/nic.h>

#define STACK (64u << 10) /* the builder's is one page */

int guest_main(const struct xen_start_info *info);
void pv_return(void *to, uint64_t rsp) __attribute__((noreturn));

bool somebody_ended;
static uint8_t stack[STACK] __attribute__((aligned(16)));
static uint32_t exception_port;

/* The loop finds what has come: an upcall ends its sleep, and no more. */
static void
handler(struct pv_frame *f)
{
	if (f->vector == PV_EVENT) {
		pv_vcpu->upcall_pending = 0;
		return;
	}
	say("dom0: exception %lu, error code %lx, at %lx\n", f->vector, f->error, f->rip);
	out_flush();
	pv_exit(1);
}

static void
take_ports(void)
{
	int port;

	while ((port = pv_event_next()) >= 0) {
		somebody_ended |= (uint32_t)port == exception_port;
		if ((uint32_t)port == ide_port)
			ide_interrupted();
		if ((uint32_t)port == nic_port)
			nic_interrupted();
	}
}

/* Until something comes, or somebody may send more. */
static void
sleep(void)
{
	uint64_t until = vifs_until(), job = job_until();

	if (job && (!until || job < until))
		until = job;
	if (until)
		pv_timer(until);
	pv_block();
}

/* Each round serves everybody a little, so that who talks for ever keeps nobody waiting. */
static void
loop(void)
{
	for (;;) {
		bool any;

		pv_vcpu->upcall_mask =
			1; /* what comes from here on ends the sleep before it begins */
		take_ports();
		any = domains_serve();
		any |= shell_serve();
		out_flush();
		if (!any)
			sleep();
	}
}

static void
begin(void)
{
	struct xen_evtchn_bind_virq virq = { .virq = XEN_VIRQ_DOM_EXC };

	pv_handler = handler;
	pv_take_traps();
	pv_events_init();
	out_init();
	if (pv_event_op(XEN_EVTCHNOP_bind_virq, &virq))
		say("dom0: nobody tells of domains that have ended\n");
	exception_port = virq.port;
	virq = (struct xen_evtchn_bind_virq){ .virq = XEN_VIRQ_TIMER };
	if (pv_event_op(XEN_EVTCHNOP_bind_virq, &virq))
		say("dom0: nobody says what time it is\n");
	daemon_init();
	own_begin();
	domains_init();
	shell_init();
	loop();
}

int
guest_main(const struct xen_start_info *info)
{
	pv_init(info);
	pv_return(begin, (uint64_t)stack + STACK - 8);
}

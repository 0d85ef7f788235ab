/*
 * VIRQ_CONSOLE says that there is something to read by console_io, and VIRQ_DEBUG that somebody
 * wants to know more. It polls for neither: without an event it never goes on.
 */
#include <guest/pv/lib/events.h>

int keys(void);

static uint32_t
bind(enum xen_virq virq)
{
	struct xen_evtchn_bind_virq b = { .virq = virq };

	return pv_event_op(XEN_EVTCHNOP_bind_virq, &b) ? 0 : b.port;
}

/* Three bytes at a time, so that some are left; up to a q. */
static bool
echo(void)
{
	char some[4];
	int64_t n;

	while ((n = pv_call(XEN_console_io, XEN_CONSOLEIO_read, 3, (uint64_t)some, 0)) > 0) {
		some[n] = 0;
		pv_print(some);
		for (int64_t k = 0; k < n; k++)
			if (some[k] == 'q')
				return false;
	}
	return true;
}

int
keys(void)
{
	uint32_t console = bind(XEN_VIRQ_CONSOLE), debug = bind(XEN_VIRQ_DEBUG);
	const uint32_t ports[] = { console, debug };
	struct xen_sched_poll poll = { (uint64_t)ports, 2, 0 };
	bool more = true;

	pv_printf("keys> ");
	while (more) {
		int port;

		/* by name: an event that has come by now ends no sleep that names no port */
		pv_call(XEN_sched_op, XEN_SCHEDOP_poll, (uint64_t)&poll, 0, 0);
		while ((port = pv_event_next()) >= 0) {
			if ((uint32_t)port == debug)
				pv_printf("VIRQ_DEBUG\n");
			if ((uint32_t)port == console && !echo())
				more = false; /* for good: another event may have come meanwhile */
		}
	}
	pv_print("\n");
	return 0;
}

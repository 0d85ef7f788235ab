/*
 * All ports that there are, each of them with another end, and what a call has to do with them
 * then.
 */
#include <guest/pv/siege/siege.h>

#define MANY 64u

static struct xen_multicall_entry many[MANY];
static struct xen_evtchn_alloc_unbound unbound = { XEN_DOMID_SELF, XEN_DOMID_SELF, 0 };
static struct xen_evtchn_close first = { 1 };
static struct xen_evtchn_reset all = { XEN_DOMID_SELF };

/* Pairs, so far as there are two more. */
static unsigned
fill(void)
{
	struct xen_evtchn_bind_interdomain b = { .remote_dom = XEN_DOMID_SELF };
	unsigned count = 0;

	while (!pv_event_op(XEN_EVTCHNOP_alloc_unbound, &unbound)) {
		b.remote_port = unbound.port;
		count += 1 + !pv_event_op(XEN_EVTCHNOP_bind_interdomain, &b);
	}
	return count;
}

static void
put(unsigned n, unsigned op, void *arg)
{
	many[n] = (struct xen_multicall_entry){ .op = XEN_event_channel_op,
						.args = { op, (uint64_t)arg } };
}

/* The lowest one is free again and again: where does whoever wants another one look? */
static void
lowest(void)
{
	for (unsigned n = 0; n < MANY; n++)
		put(n, n % 3 ? XEN_EVTCHNOP_alloc_unbound : XEN_EVTCHNOP_close,
		    n % 3 ? (void *)&unbound : (void *)&first);
	check(!pv_call(XEN_multicall, (uint64_t)many, MANY, 0, 0), "closed and opened", 0);
	for (unsigned n = 0; n + 1 < MANY; n++)
		check((int64_t)many[n].result == (n % 3 == 2 ? -28 : 0), "... of which",
		      many[n].result);
}

void
ports(void)
{
	pv_vcpu->upcall_mask = 1;
	check(fill() > 4000, "all ports", 0);
	lowest();
	check(!pv_event_op(XEN_EVTCHNOP_reset, &all), "reset", 0);
	fill();
	put(0, XEN_EVTCHNOP_reset, &all);
	for (unsigned n = 1; n < MANY; n++)
		put(n, XEN_EVTCHNOP_reset, &all);
	check(!pv_call(XEN_multicall, (uint64_t)many, MANY, 0, 0), "reset, again and again", 0);
	if (has_word("stay")) /* it ends with all of them */
		fill();
	pv_printf("ports: %u wrong; the end\n", wrong);
	pv_exit((int)wrong);
}

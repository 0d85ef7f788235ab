/*
 * How the front end of a network card comes together with its back end. As everywhere (states.h),
 * but for one word: once its rings are there it says that it is connected, and not before the back
 * end does; so netif.h's drivers do it on both sides.
 */
#include <guest/pv/drivers/address.h>
#include <guest/pv/drivers/netfront.h>
#include <guest/pv/lib/text.h>

#define PATIENCE 1000000000ul /* ns without an event, behind which it looks who is there */

static enum xen_xenbus_state
shown(const struct netfront *f)
{
	return f->dev.mine == XEN_XENBUS_Initialised ? XEN_XENBUS_Connected : f->dev.mine;
}

/* A page that somebody still has mapped keeps its entry, and the next one may have it. */
static void
take_back(struct netfront *f, uint32_t *ref)
{
	if (*ref && refs_end(f->refs, *ref))
		*ref = 0;
}

static void
drop(struct netfront *f)
{
	struct xen_evtchn_close c = { f->port };

	if (f->port)
		pv_event_op(XEN_EVTCHNOP_close, &c);
	f->port = 0;
	net_rings_end(f);
	take_back(f, &f->tx_ref);
	take_back(f, &f->rx_ref);
}

static int
publish(struct netfront *f)
{
	struct xen_evtchn_alloc_unbound a = { .dom = XEN_DOMID_SELF,
					      .remote_dom = (uint16_t)f->dev.peer };
	uint16_t peer = (uint16_t)f->dev.peer;

	drop(f);
	f->lies = false;
	if (pv_event_op(XEN_EVTCHNOP_alloc_unbound, &a))
		return -ENOSPC;
	f->port = a.port;
	net_rings_begin(f);
	if (!f->tx_ref)
		f->tx_ref = refs_grant(f->refs, peer, &f->memory->tx, false);
	if (!f->rx_ref)
		f->rx_ref = refs_grant(f->refs, peer, &f->memory->rx, false);
	if (!f->tx_ref || !f->rx_ref)
		return -ENOSPC;
	return device_publish(&f->dev,
			      (const struct device_says[]){ { "tx-ring-ref", f->tx_ref },
							    { "rx-ring-ref", f->rx_ref },
							    { "event-channel", f->port },
							    { "request-rx-copy", 1 },
							    { "feature-rx-notify", 1 },
							    { "feature-no-csum-offload", 1 } },
			      6);
}

/* One step, if there is one to do. */
static bool
shake_hands(struct netfront *f)
{
	enum step step = state_step(FRONT, f->dev.mine, device_state(&f->dev, f->dev.there));
	int err = 0;

	if (step == STEP_WAIT)
		return false;
	if (step == STEP_BEGIN || step == STEP_CLOSE)
		drop(f);
	else if (step == STEP_PUBLISH)
		err = publish(f);
	f->dev.mine = err ? XEN_XENBUS_Closed : state_after(FRONT, step, f->dev.mine);
	device_show(&f->dev, shown(f));
	if (f->dev.mine == XEN_XENBUS_Connected) {
		f->times++;
		net_push(f);
	}
	return true;
}

static int
read_mac(struct netfront *f)
{
	int err = xenbus_read(f->dev.bus, 0, f->dev.here, "mac");

	return err ? err : mac_parse(f->dev.bus->answer, f->mac) ? 0 : -EINVAL;
}

int
net_begin(struct netfront *f, struct xenbus *bus, struct refs *refs, struct net_memory *memory,
	  const char *name)
{
	int err;

	memset(f, 0, sizeof(*f));
	f->refs = refs;
	f->memory = memory;
	net_rings_begin(f);
	f->stores = 1;
	err = device_begin(&f->dev, bus, "vif", name);
	return err ? err : read_mac(f);
}

/* Nothing is asked of the store behind the last look at what it has said: so one may sleep then. */
void
net_serve(struct netfront *f)
{
	while (xenbus_heard(f->dev.bus, f->dev.token) || f->dev.mine == XEN_XENBUS_Unknown)
		while (shake_hands(f))
			;
}

/*
 * The store may be another one, which knows nothing of this end, nor of what it watches: a watch
 * that is not there yet tells so. If it knows no state of it, either, all begins anew.
 */
static void
look_around(struct netfront *f)
{
	f->stores += !xenbus_watch(f->dev.bus, f->dev.there, f->dev.token);
	if (device_state(&f->dev, f->dev.here) != shown(f))
		f->dev.mine = XEN_XENBUS_Unknown;
}

void
net_sleep(struct netfront *f, uint64_t until)
{
	const uint32_t ports[] = { pv_info->store_evtchn, f->port };
	uint64_t look = pv_now() + PATIENCE;

	pv_wait(ports, f->port ? 2 : 1, until < look ? until : look);
	f->rung++;
	if (pv_now() >= look)
		look_around(f);
}

int
net_connect(struct netfront *f)
{
	for (;;) {
		net_serve(f);
		if (f->dev.mine == XEN_XENBUS_Connected)
			return 0;
		if (f->dev.mine == XEN_XENBUS_Closed)
			return -ENODEV;
		net_sleep(f, UINT64_MAX);
	}
}

void
net_end(struct netfront *f)
{
	bool look = true;

	f->dev.mine = XEN_XENBUS_Closing;
	device_show(&f->dev, f->dev.mine);
	for (;;) {
		while (look && shake_hands(f))
			;
		if (f->dev.mine == XEN_XENBUS_Closed)
			break;
		look = xenbus_heard(f->dev.bus, f->dev.token);
		if (!look)
			net_sleep(f, UINT64_MAX);
	}
	device_end(&f->dev);
}

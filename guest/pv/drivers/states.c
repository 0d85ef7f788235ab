/*
 * The handshake, for both ends.
 */
#include <stdbool.h>

#include <guest/pv/drivers/states.h>

/* One that has gone, or wants to, or has never been. */
static bool
parts(enum xen_xenbus_state other)
{
	return other == XEN_XENBUS_Unknown || other == XEN_XENBUS_Closing ||
	       other == XEN_XENBUS_Closed;
}

/* One that has not seen this one's state yet. */
static bool
begins(enum xen_xenbus_state other)
{
	return other == XEN_XENBUS_Initialising || other == XEN_XENBUS_InitWait;
}

/* A back end that waits for a ring while this one thinks that it has one is another one. */
static enum step
front_step(enum xen_xenbus_state mine, enum xen_xenbus_state other)
{
	switch (mine) {
	case XEN_XENBUS_Initialising:
		return other == XEN_XENBUS_InitWait ? STEP_PUBLISH : STEP_WAIT;
	case XEN_XENBUS_Initialised:
		if (other == XEN_XENBUS_Connected)
			return STEP_CONNECT;
		return parts(other) ? STEP_CLOSE : STEP_WAIT;
	case XEN_XENBUS_Connected:
		if (begins(other))
			return STEP_BEGIN;
		return parts(other) ? STEP_CLOSE : STEP_WAIT;
	case XEN_XENBUS_Closing:
		return parts(other) ? STEP_CLOSE : STEP_WAIT;
	case XEN_XENBUS_Closed:
		return begins(other) ? STEP_BEGIN : STEP_WAIT;
	default:
		return STEP_BEGIN;
	}
}

/* A front end that begins anew has let go of the ring that this one still has. */
static enum step
back_step(enum xen_xenbus_state mine, enum xen_xenbus_state other)
{
	switch (mine) {
	case XEN_XENBUS_InitWait:
		return other == XEN_XENBUS_Initialised ? STEP_CONNECT : STEP_WAIT;
	case XEN_XENBUS_Connected:
		return parts(other) || begins(other) ? STEP_CLOSE : STEP_WAIT;
	case XEN_XENBUS_Closing: /* who is still at it has requests on the ring */
		return other == XEN_XENBUS_Connected || other == XEN_XENBUS_Closing ? STEP_WAIT
										    : STEP_CLOSE;
	case XEN_XENBUS_Closed:
		return other == XEN_XENBUS_Initialising ? STEP_BEGIN : STEP_WAIT;
	default:
		return STEP_BEGIN;
	}
}

enum step
state_step(enum end end, enum xen_xenbus_state mine, enum xen_xenbus_state other)
{
	return end == FRONT ? front_step(mine, other) : back_step(mine, other);
}

enum xen_xenbus_state
state_after(enum end end, enum step step, enum xen_xenbus_state mine)
{
	switch (step) {
	case STEP_BEGIN:
		return end == FRONT ? XEN_XENBUS_Initialising : XEN_XENBUS_InitWait;
	case STEP_PUBLISH:
		return XEN_XENBUS_Initialised;
	case STEP_CONNECT:
		return XEN_XENBUS_Connected;
	case STEP_CLOSE:
		return XEN_XENBUS_Closed;
	default:
		return mine;
	}
}

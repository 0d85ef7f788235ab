/*
 * The handshake (exercise 9.1), for both ends of a device.
 */
#include <guest/pv/drivers/exercise.h>
#include <guest/pv/drivers/states.h>

/* EXERCISE 9.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 9.0 */

static enum step
front_step(enum xen_xenbus_state mine, enum xen_xenbus_state other)
{
	/*
	 * EXERCISE 9.1a: the front end's turn
	 * Holds: what a front end in `mine` does that finds its other end in `other`. Two that want
	 *  to come together do, whoever is first, and stand still then; so do two that part.
	 * Beware: the other end may have died at any moment, and another one may stand there, which
	 *  knows nothing of what was. Nobody waits for one who has gone.
	 * Manual: xenbus.h "enum xenbus_state", of Debian's libxen-dev; states.h.
	 * Tools: state_after(), STEP_BEGIN, STEP_CLOSE, STEP_CONNECT, STEP_PUBLISH, STEP_WAIT
	 * Hint: you have a ring, and the other one waits for a ring. Who is that?
	 * Hint: draw both ends' states as a board with two axes: each step is a move along one of
	 *  them, and from each square there must be a way.
	 * Hint: TCP's RFC 793 has such a table, too: a SYN that comes in ESTABLISHED is from one
	 *  who has been born anew; a RST in any state ends it; a FIN is answered before it ends.
	 * until then: (void)mine; (void)other; return STEP_WAIT;
	 */
	bool begins = other == XEN_XENBUS_Initialising || other == XEN_XENBUS_InitWait;
	bool parts = other == XEN_XENBUS_Unknown || other == XEN_XENBUS_Closing ||
		     other == XEN_XENBUS_Closed;

	switch (mine) {
	case XEN_XENBUS_Initialising:
		return other == XEN_XENBUS_InitWait ? STEP_PUBLISH : STEP_WAIT;
	case XEN_XENBUS_Initialised:
		if (other == XEN_XENBUS_Connected)
			return STEP_CONNECT;
		return parts ? STEP_CLOSE : STEP_WAIT;
	case XEN_XENBUS_Connected: /* one that waits for a ring now is another one */
		if (begins)
			return STEP_BEGIN;
		return parts ? STEP_CLOSE : STEP_WAIT;
	case XEN_XENBUS_Closing:
		return parts ? STEP_CLOSE : STEP_WAIT;
	case XEN_XENBUS_Closed:
		return begins ? STEP_BEGIN : STEP_WAIT;
	default:
		return STEP_BEGIN;
	}
	/* END EXERCISE 9.1a */
}

static enum step
back_step(enum xen_xenbus_state mine, enum xen_xenbus_state other)
{
	/*
	 * EXERCISE 9.1b: the back end's turn
	 * Holds: the same for a back end. It takes a ring from who has published one, and none from
	 *  anybody else; and keeps one that it has as long as its front end may use it.
	 * Beware: of two that part the front end may still have requests on the ring. A front end
	 *  that begins anew has forgotten this one's ring, and its memory may be somebody else's.
	 * Manual: xenbus.h "enum xenbus_state", of Debian's libxen-dev; states.h.
	 * Tools: state_after(), STEP_BEGIN, STEP_CLOSE, STEP_CONNECT, STEP_WAIT
	 * Hint: which of the steps does a back end never do?
	 * Hint: who has closed waits for one who is at the very beginning, and for nobody else.
	 * Hint: a shop that closes: who is inside still pays; who comes now finds the door shut;
	 *  and it opens for those who come in the morning, not for those who forgot to leave.
	 * until then: (void)mine; (void)other; return STEP_WAIT;
	 */
	bool begins = other == XEN_XENBUS_Initialising || other == XEN_XENBUS_InitWait;
	bool parts = other == XEN_XENBUS_Unknown || other == XEN_XENBUS_Closing ||
		     other == XEN_XENBUS_Closed;

	switch (mine) {
	case XEN_XENBUS_InitWait:
		return other == XEN_XENBUS_Initialised ? STEP_CONNECT : STEP_WAIT;
	case XEN_XENBUS_Connected:
		return parts || begins ? STEP_CLOSE : STEP_WAIT;
	case XEN_XENBUS_Closing: /* who is still at it has requests on the ring */
		return other == XEN_XENBUS_Connected || other == XEN_XENBUS_Closing ? STEP_WAIT
										    : STEP_CLOSE;
	case XEN_XENBUS_Closed:
		return other == XEN_XENBUS_Initialising ? STEP_BEGIN : STEP_WAIT;
	default:
		return STEP_BEGIN;
	}
	/* END EXERCISE 9.1b */
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

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
	 */
	exercise_todo("9.1", "handouts/lab9a.md#ex-9-1");
	(void)mine;
	(void)other;
	return STEP_WAIT;
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
	 */
	exercise_todo("9.1", "handouts/lab9a.md#ex-9-1");
	(void)mine;
	(void)other;
	return STEP_WAIT;
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

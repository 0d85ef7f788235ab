/*
 * How two ends of a device come together and part (xen/include/public/io/xenbus.h): each sees the
 * other one's state in the store, and its own, and this says what it does then. Either may end at
 * any time, and another one be in its place, which begins anew. Pure.
 */
#pragma once

#include <stdbool.h>

#include <inc/xen_block.h>

enum end { FRONT, BACK };

/* What an end does; behind it it writes the state that is named, unless it could not. */
enum step {
	STEP_WAIT, /* nothing: it is the other one's turn */
	STEP_BEGIN, /* what there was is let go of; the back says what it can: Initialising, InitWait */
	STEP_PUBLISH, /* the front makes a ring, and says where it is: Initialised */
	STEP_CONNECT, /* the back takes the ring, the front learns what the disk is: Connected */
	STEP_CLOSE,   /* what there was is let go of: Closed */
};

/*
 * `other` is Unknown where it is not there. A front end that is Closed begins again when somebody
 * begins; a back end only with one who is at the very beginning. Who has a ring and finds nobody
 * there lets go of it, and is Closed, or begins anew; one that finds one who parts is Closed. Who
 * has none to let go of waits. Of two in Closing the front end closes, and the back end after it.
 */
enum step state_step(enum end end, enum xen_xenbus_state mine, enum xen_xenbus_state other);
/* What an end writes behind a step. */
enum xen_xenbus_state state_after(enum end end, enum step step, enum xen_xenbus_state mine);

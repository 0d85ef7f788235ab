/*
 * What back ends of all kinds have alike.
 */
#pragma once

#include <guest/pv/drivers/states.h>

/*
 * What a back end writes behind a step, its front end being in `other`. Who parts finds it Closing,
 * and Closed once it has Closed itself: Linux that shuts down waits 5 s for a back end that says
 * Closing, and believes nothing else (drivers/xen/xenbus/xenbus_probe.c,
 * xenbus_otherend_changed()).
 */
static inline enum xen_xenbus_state
back_after(enum step step, enum xen_xenbus_state mine, enum xen_xenbus_state other)
{
	return step == STEP_CLOSE && mine == XEN_XENBUS_Connected && other == XEN_XENBUS_Closing
		       ? XEN_XENBUS_Closing
		       : state_after(BACK, step, mine);
}

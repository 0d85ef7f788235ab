/*
 * A domain that is put away, and comes back, perhaps on another machine (sched.h,
 * "SHUTDOWN_suspend").
 */
#pragma once

#include <guest/pv/lib/events.h>

/*
 * One vCPU, no port or grant of anybody's that is still wanted, nothing in its page tables that is
 * not its own: pv_grants_end(). Upcalls are masked. True: it has come back: of its ports only those
 * of start_info are there, which says which, all of another monitor's table of grants is empty, and
 * machine frames are others. False: nothing has changed, nobody has put it away.
 */
bool pv_suspend(void);

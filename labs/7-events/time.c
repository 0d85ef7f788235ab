/*
 * What a domain is shown of time, and which of its timers are due: exercise 7.4. How timers are
 * set, and the scale, are in vmm/pv/events/time.c. Pure.
 */
#include <kern/kern.h>
#include <vmm/pv/events/time.h>

#define SECOND    1000000000ul
#define YEAR_2000 946684800u                          /* in seconds of Unix's time */
#define BARRIER() __asm__ volatile("" : : : "memory") /* x86 writes in order: SDM 3A 8.2.2 */

/* EXERCISE 7.0: room for helpers of your own. Nothing has to stand here. */
/* END EXERCISE 7.0 */

void
pv_time_write(volatile struct xen_vcpu_time_info *t, uint64_t tsc, uint64_t ns, struct pv_scale s)
{
	/*
	 * EXERCISE 7.4a: the time, shown
	 * Holds: the record says what time it was when the TSC was `tsc`, and how it goes on;
	 *  flags are 0. Who reads it while it is written, at any instruction, can see that and
	 *  begin anew.
	 * Beware: it is the guest's memory, and it may have written there what it likes. The
	 *  compiler may move what does not depend on each other.
	 * Manual: xen.h "struct vcpu_time_info", of Debian's libxen-dev; vmm/pv/events/time.h.
	 * Tools: BARRIER(), pv_time_scale()
	 */
	exercise_todo("7.4", "handouts/lab7b.md#ex-7-4");
	(void)t;
	(void)tsc;
	(void)ns;
	(void)s;
	/* END EXERCISE 7.4a */
}

void
pv_time_write_wall(volatile struct xen_shared_info *s, uint64_t ns)
{
	/*
	 * EXERCISE 7.4b: the date, shown
	 * Holds: the page says which date it was when the domain's time was 0: seconds since
	 *  1970, in two halves, and the rest. Readers see that it is written, as with 7.4a.
	 * Beware: as 7.4a. `ns` counts from the year 2000, and grows each time that the domain
	 *  has been paused: by then its own time has stood still, and the date has not.
	 * Manual: xen.h "struct shared_info", of Debian's libxen-dev; vmm/pv/events/time.h.
	 * Tools: BARRIER(), domain_now(), SECOND, YEAR_2000
	 */
	exercise_todo("7.4", "handouts/lab7b.md#ex-7-4");
	(void)s;
	(void)ns;
	/* END EXERCISE 7.4b */
}

unsigned
pv_timers_take(struct pv_timers *t, uint64_t now)
{
	/*
	 * EXERCISE 7.4c: what is due
	 * Holds: the answer says whether VIRQ_TIMER is to be raised, and whether a wait for a
	 *  port is over. What was due by now is not due any more; a period's next time is one
	 *  from now.
	 * Beware: both kinds of timer lead to one VIRQ. Many periods may have gone by unseen; and
	 *  what is due is due at its very moment.
	 * Manual: vcpu.h "VCPUOP_set_periodic_timer", "VCPUOP_set_singleshot_timer", of Debian's
	 *  libxen-dev; vmm/pv/events/time.h.
	 * Tools: PV_NEVER, PV_TIMER_EVENT, PV_TIMER_POLL, pv_timer_poll()
	 */
	exercise_todo("7.4", "handouts/lab7b.md#ex-7-4");
	(void)t;
	(void)now;
	return 0;
	/* END EXERCISE 7.4c */
}

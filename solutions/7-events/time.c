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
	 * Hint: what does a reader see that begins before your first store, or ends behind your
	 *  last?
	 * Hint: a shop turns the sign at its door before the window is rearranged, and again
	 *  behind it; who has seen both sides of the sign has not seen the window.
	 * Hint: the console's ring has a counter, too, that moves behind what it counts: rings.c.
	 *  It has one writer and one reader, and nothing there is ever written twice.
	 * until then: (void)t; (void)tsc; (void)ns; (void)s;
	 */
	uint32_t odd = (t->version + 1) | 1;

	t->version = odd;
	BARRIER();
	t->tsc_timestamp = tsc;
	t->system_time = ns;
	t->tsc_to_system_mul = s.mul;
	t->tsc_shift = s.shift;
	t->flags = 0;
	BARRIER();
	t->version = odd + 1;
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
	 * Hint: which of the page's fields does a reader add to which of the record's?
	 * Hint: a runner's watch was stopped twice. It shows how long he ran; when he started by
	 *  the church's clock tells the date only if that is moved along with each stop.
	 * Hint: /proc/stat has `btime`, the date of the boot, and /proc/uptime what is to be
	 *  added: after a laptop has slept one of both has jumped.
	 * until then: (void)s; (void)ns;
	 */
	uint32_t odd = (s->wc_version + 1) | 1;
	uint64_t seconds = YEAR_2000 + ns / SECOND;

	s->wc_version = odd;
	BARRIER();
	s->wc_sec = (uint32_t)seconds;
	s->wc_sec_hi = (uint32_t)(seconds >> 32);
	s->wc_nsec = (uint32_t)(ns % SECOND);
	BARRIER();
	s->wc_version = odd + 1;
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
	 * Hint: a domain was not looked at for a second, its period is a millisecond: how many
	 *  interrupts does its kernel want?
	 * Hint: a kitchen clock that has rung rings no more by itself; a church's does, and does
	 *  not make up at noon for what it missed while it was repaired.
	 * Hint: the PC's 8254 (vmm/dev/pit.c) loses periods, too, but keeps its phase.
	 * until then: (void)t; (void)now; return 0;
	 */
	unsigned due = 0;

	if (t->single <= now) {
		t->single = PV_NEVER;
		due |= PV_TIMER_EVENT;
	}
	if (t->next <= now) {
		t->next = now + t->period;
		due |= PV_TIMER_EVENT;
	}
	if (t->poll <= now) {
		t->poll = PV_NEVER;
		due |= PV_TIMER_POLL;
	}
	return due;
	/* END EXERCISE 7.4c */
}

/*
 * A domain's time as its guest sees it, and its timers (xen.h, struct vcpu_time_info; vcpu.h). All
 * times are ns of the domain's clock, which stands still while it is paused. Pure.
 */
#pragma once

#include <inc/xen_events.h>

#define PV_NEVER (~0ul)

/* So many ns are a tick of the TSC: as struct vcpu_time_info has it. */
struct pv_scale {
	uint32_t mul;
	int8_t shift;
};
struct pv_scale pv_time_scale(uint64_t tsc_hz);
/* It was `ns` when the TSC was `tsc`, or a little before; *t is odd while it is written. */
void pv_time_write(volatile struct xen_vcpu_time_info *t, uint64_t tsc, uint64_t ns,
		   struct pv_scale s);
/* The domain's time was 0 so many ns after the year 2000 began. */
void pv_time_write_wall(volatile struct xen_shared_info *s, uint64_t ns);

struct pv_timers {
	uint64_t single, poll, next; /* when; PV_NEVER */
	uint64_t period;             /* of `next`; 0: none */
};
#define PV_TIMER_EVENT 1u /* VIRQ_TIMER */
#define PV_TIMER_POLL  2u /* its wait for a port is over */

void pv_timers_init(struct pv_timers *t);
void pv_timer_set(struct pv_timers *t, uint64_t now, uint64_t at); /* set_timer_op */
int pv_timer_single(struct pv_timers *t, uint64_t now, uint64_t at, uint32_t flags); /* -ETIME */
int pv_timer_period(struct pv_timers *t, uint64_t now, uint64_t period);             /* -EINVAL */
void pv_timer_poll(struct pv_timers *t, uint64_t at);                                /* 0: never */
/* What is due by now, which it is no longer then; when there will be more. */
unsigned pv_timers_take(struct pv_timers *t, uint64_t now);
uint64_t pv_timers_next(const struct pv_timers *t);

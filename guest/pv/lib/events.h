/*
 * Events and time for the PV guests: the shared page, ports, the clock.
 */
#pragma once

#include <guest/pv/lib/pv.h>
#include <inc/xen_events.h>

#define PV_EVENT 256 /* as a vector in struct pv_frame: an upcall */

extern volatile struct xen_shared_info *const pv_shared;
extern volatile struct xen_vcpu_info
	*pv_vcpu; /* in the shared page, until it is placed elsewhere */

/* Maps the shared page, and takes upcalls: pv_handler gets them. All ports are open. */
void pv_events_init(void);
int64_t pv_event_op(enum xen_evtchnop op, void *arg);
/*
 * Of a vCPU: each port that is pending and not masked, once, as xen.h says; -1: there is none more.
 */
int pv_event_next_of(volatile struct xen_vcpu_info *info);
static inline int
pv_event_next(void)
{
	return pv_event_next_of(pv_vcpu);
}
void *pv_machine_page(uint64_t mfn); /* of its own, that the builder has mapped */
int64_t pv_send(uint32_t port);
struct xen_evtchn_status pv_status(uint32_t port); /* of a port of its own */
/* All upcalls are let in; those that have come meanwhile need one call of Zeno's. */
void pv_unmask(void);
uint64_t pv_now(void); /* ns, by struct vcpu_time_info */
int64_t pv_block(void);
int64_t pv_poll(uint32_t port, uint64_t until); /* port 0: none; until 0: for ever */
int64_t pv_timer(uint64_t at);                  /* set_singleshot_timer */

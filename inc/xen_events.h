/*
 * Events and time in Xen's ABI: the page that a domain shares with its monitor, event channels,
 * what a vCPU says of its timers. Names as in inc/xen.h.
 */
#pragma once

#include <inc/xen.h>

/* xen.h, struct shared_info. A port's bits are bit % 64 of word / 64. */
#define XEN_PORTS  4096u /* of two levels: EVTCHN_2L_NR_CHANNELS */
#define XEN_LEGACY 32u   /* vCPUs whose vcpu_info lies in the page */
struct xen_shared_info {
	struct xen_vcpu_info vcpu_info[XEN_LEGACY];
	uint64_t pending[XEN_PORTS / 64];                /* the monitor sets, the guest clears */
	uint64_t mask[XEN_PORTS / 64];                   /* the guest's */
	uint32_t wc_version, wc_sec, wc_nsec, wc_sec_hi; /* when the guest's time was 0 */
	uint64_t max_pfn, frame_list_list, nmi_reason, p2m_cr3, p2m_vaddr, p2m_generation;
};

/* event_channel.h */
enum xen_evtchnop {
	XEN_EVTCHNOP_bind_interdomain,
	XEN_EVTCHNOP_bind_virq,
	XEN_EVTCHNOP_bind_pirq,
	XEN_EVTCHNOP_close,
	XEN_EVTCHNOP_send,
	XEN_EVTCHNOP_status,
	XEN_EVTCHNOP_alloc_unbound,
	XEN_EVTCHNOP_bind_ipi,
	XEN_EVTCHNOP_bind_vcpu,
	XEN_EVTCHNOP_unmask,
	XEN_EVTCHNOP_reset,
	XEN_EVTCHNOP_init_control,
};
enum xen_evtchnstat {
	XEN_EVTCHNSTAT_closed,
	XEN_EVTCHNSTAT_unbound,
	XEN_EVTCHNSTAT_interdomain,
	XEN_EVTCHNSTAT_pirq,
	XEN_EVTCHNSTAT_virq,
	XEN_EVTCHNSTAT_ipi,
};
struct xen_evtchn_alloc_unbound {
	uint16_t dom, remote_dom;
	uint32_t port; /* out */
};
struct xen_evtchn_bind_interdomain {
	uint16_t remote_dom;
	uint32_t remote_port;
	uint32_t local_port; /* out */
};
struct xen_evtchn_bind_virq {
	uint32_t virq, vcpu;
	uint32_t port; /* out */
};
struct xen_evtchn_bind_pirq {
	uint32_t pirq, flags;
	uint32_t port; /* out */
};
struct xen_evtchn_bind_ipi {
	uint32_t vcpu;
	uint32_t port; /* out */
};
struct xen_evtchn_close {
	uint32_t port;
};
struct xen_evtchn_send {
	uint32_t port;
};
struct xen_evtchn_unmask {
	uint32_t port;
};
struct xen_evtchn_bind_vcpu {
	uint32_t port, vcpu;
};
struct xen_evtchn_reset {
	uint16_t dom;
};
struct xen_evtchn_status {
	uint16_t dom;
	uint32_t port;
	uint32_t status, vcpu; /* out */
	union {
		struct {
			uint16_t dom;
		} unbound;
		struct {
			uint16_t dom;
			uint32_t port;
		} interdomain;
		uint32_t virq, pirq;
	} u;
};

/* xen.h, "VIRTUAL INTERRUPTS" */
#define XEN_VIRQS 24u /* NR_VIRQS */
enum xen_virq {
	XEN_VIRQ_TIMER = 0,
	XEN_VIRQ_DEBUG = 1,
	XEN_VIRQ_CONSOLE = 2,
	XEN_VIRQ_DOM_EXC = 3,
	XEN_VIRQ_XENOPROF = 7,
	XEN_VIRQ_XENPMU = 13,
};

/* physdev.h */
enum xen_physdev_op {
	XEN_PHYSDEVOP_irq_status_query = 5,
	XEN_PHYSDEVOP_set_iopl = 6,
	XEN_PHYSDEVOP_eoi = 12,
	XEN_PHYSDEVOP_map_pirq = 13,
	XEN_PHYSDEVOP_unmap_pirq = 14,
	XEN_PHYSDEVOP_setup_gsi = 21,
};
#define XEN_IRQSTAT_needs_eoi 1u
struct xen_physdev_irq_status_query {
	uint32_t irq;
	uint32_t flags; /* out */
};
struct xen_physdev_eoi {
	uint32_t irq;
};
#define XEN_MAP_PIRQ_TYPE_GSI 1
struct xen_physdev_map_pirq {
	uint16_t domid;
	int32_t type, index;
	int32_t pirq; /* in: a number that it is to have, or less than 0; and out */
	int32_t bus, devfn, entry_nr;
	uint64_t table_base;
};
struct xen_physdev_unmap_pirq {
	uint16_t domid;
	int32_t pirq;
};
struct xen_physdev_setup_gsi {
	int32_t gsi;
	uint8_t triggering; /* 0: by edge, 1: by level */
	uint8_t polarity;   /* 0: high, 1: low */
};

/* sched.h */
struct xen_sched_poll {
	uint64_t ports; /* linear: so many uint32_t */
	uint32_t nr_ports;
	uint64_t timeout; /* 0: none */
};

/* vcpu.h */
enum xen_vcpuop {
	XEN_VCPUOP_initialise = 0, /* inc/xen_vcpu.h */
	XEN_VCPUOP_up = 1,
	XEN_VCPUOP_down = 2,
	XEN_VCPUOP_is_up = 3,
	XEN_VCPUOP_get_runstate_info = 4,
	XEN_VCPUOP_register_runstate_memory_area = 5,
	XEN_VCPUOP_set_periodic_timer = 6,
	XEN_VCPUOP_stop_periodic_timer = 7,
	XEN_VCPUOP_set_singleshot_timer = 8,
	XEN_VCPUOP_stop_singleshot_timer = 9,
	XEN_VCPUOP_register_vcpu_info = 10,
	XEN_VCPUOP_send_nmi = 11,
	XEN_VCPUOP_register_vcpu_time_memory_area = 13,
};
enum xen_runstate {
	XEN_RUNSTATE_running,
	XEN_RUNSTATE_runnable,
	XEN_RUNSTATE_blocked,
	XEN_RUNSTATE_offline
};
struct xen_vcpu_runstate_info {
	uint32_t state;
	uint64_t state_entry_time;
	uint64_t time[4]; /* ns in each state */
};
struct xen_vcpu_set_periodic_timer {
	uint64_t period_ns;
};
#define XEN_VCPU_SSHOTTMR_future 1u
struct xen_vcpu_set_singleshot_timer {
	uint64_t timeout_abs_ns;
	uint32_t flags;
};
struct xen_vcpu_register_vcpu_info {
	uint64_t mfn;
	uint32_t offset, rsvd;
};

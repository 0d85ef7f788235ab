/* BUILD: -D__XEN_INTERFACE_VERSION__=0x00040d00 */
/*
 * inc/xen_events.h against the public headers of Debian's libxen-dev: each number, and each field's
 * place.
 */
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/console.h>
#include <xen/io/xs_wire.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

#include <inc/xen_events.h>
#include <inc/xen_grants.h>
#include <inc/xen_rings.h>

#include "abi.h"

static void
numbers(void)
{
	SAME(XEN_PORTS, EVTCHN_2L_NR_CHANNELS);
	SAME(XEN_LEGACY, XEN_LEGACY_MAX_VCPUS);
	SAME(XEN_EVTCHNOP_bind_interdomain, EVTCHNOP_bind_interdomain);
	SAME(XEN_EVTCHNOP_bind_virq, EVTCHNOP_bind_virq);
	SAME(XEN_EVTCHNOP_bind_pirq, EVTCHNOP_bind_pirq);
	SAME(XEN_EVTCHNOP_close, EVTCHNOP_close);
	SAME(XEN_EVTCHNOP_send, EVTCHNOP_send);
	SAME(XEN_EVTCHNOP_status, EVTCHNOP_status);
	SAME(XEN_EVTCHNOP_alloc_unbound, EVTCHNOP_alloc_unbound);
	SAME(XEN_EVTCHNOP_bind_ipi, EVTCHNOP_bind_ipi);
	SAME(XEN_EVTCHNOP_bind_vcpu, EVTCHNOP_bind_vcpu);
	SAME(XEN_EVTCHNOP_unmask, EVTCHNOP_unmask);
	SAME(XEN_EVTCHNOP_reset, EVTCHNOP_reset);
	SAME(XEN_EVTCHNOP_init_control, EVTCHNOP_init_control);
	SAME(XEN_EVTCHNSTAT_closed, EVTCHNSTAT_closed);
	SAME(XEN_EVTCHNSTAT_unbound, EVTCHNSTAT_unbound);
	SAME(XEN_EVTCHNSTAT_interdomain, EVTCHNSTAT_interdomain);
	SAME(XEN_EVTCHNSTAT_pirq, EVTCHNSTAT_pirq);
	SAME(XEN_EVTCHNSTAT_virq, EVTCHNSTAT_virq);
	SAME(XEN_EVTCHNSTAT_ipi, EVTCHNSTAT_ipi);
	SAME(XEN_VIRQS, NR_VIRQS);
	SAME(XEN_VIRQ_TIMER, VIRQ_TIMER);
	SAME(XEN_VIRQ_DEBUG, VIRQ_DEBUG);
	SAME(XEN_VIRQ_CONSOLE, VIRQ_CONSOLE);
	SAME(XEN_VIRQ_DOM_EXC, VIRQ_DOM_EXC);
	SAME(XEN_VIRQ_XENOPROF, VIRQ_XENOPROF);
	SAME(XEN_VIRQ_XENPMU, VIRQ_XENPMU);
	SAME(XEN_PHYSDEVOP_irq_status_query, PHYSDEVOP_irq_status_query);
	SAME(XEN_PHYSDEVOP_set_iopl, PHYSDEVOP_set_iopl);
	SAME(XEN_PHYSDEVOP_eoi, PHYSDEVOP_eoi);
	SAME(XEN_PHYSDEVOP_map_pirq, PHYSDEVOP_map_pirq);
	SAME(XEN_PHYSDEVOP_unmap_pirq, PHYSDEVOP_unmap_pirq);
	SAME(XEN_PHYSDEVOP_setup_gsi, PHYSDEVOP_setup_gsi);
	SAME(XEN_IRQSTAT_needs_eoi, XENIRQSTAT_needs_eoi);
	SAME(XEN_MAP_PIRQ_TYPE_GSI, MAP_PIRQ_TYPE_GSI);
	SAME(XEN_SCHEDOP_poll, SCHEDOP_poll);
	SAME(XEN_VCPUOP_initialise, VCPUOP_initialise);
	SAME(XEN_VCPUOP_up, VCPUOP_up);
	SAME(XEN_VCPUOP_down, VCPUOP_down);
	SAME(XEN_VCPUOP_is_up, VCPUOP_is_up);
	SAME(XEN_VCPUOP_get_runstate_info, VCPUOP_get_runstate_info);
	SAME(XEN_VCPUOP_register_runstate_memory_area, VCPUOP_register_runstate_memory_area);
	SAME(XEN_VCPUOP_set_periodic_timer, VCPUOP_set_periodic_timer);
	SAME(XEN_VCPUOP_stop_periodic_timer, VCPUOP_stop_periodic_timer);
	SAME(XEN_VCPUOP_set_singleshot_timer, VCPUOP_set_singleshot_timer);
	SAME(XEN_VCPUOP_stop_singleshot_timer, VCPUOP_stop_singleshot_timer);
	SAME(XEN_VCPUOP_register_vcpu_info, VCPUOP_register_vcpu_info);
	SAME(XEN_VCPUOP_send_nmi, VCPUOP_send_nmi);
	SAME(XEN_VCPUOP_register_vcpu_time_memory_area, VCPUOP_register_vcpu_time_memory_area);
	SAME(XEN_VCPU_SSHOTTMR_future, VCPU_SSHOTTMR_future);
	SAME(XEN_RUNSTATE_running, RUNSTATE_running);
	SAME(XEN_RUNSTATE_runnable, RUNSTATE_runnable);
	SAME(XEN_RUNSTATE_blocked, RUNSTATE_blocked);
	SAME(XEN_RUNSTATE_offline, RUNSTATE_offline);
}

static void
shared_page(void)
{
	FIELD(shared_info, vcpu_info, vcpu_info);
	FIELD(shared_info, pending, evtchn_pending);
	FIELD(shared_info, mask, evtchn_mask);
	FIELD(shared_info, wc_version, wc_version);
	FIELD(shared_info, wc_sec, wc_sec);
	FIELD(shared_info, wc_nsec, wc_nsec);
	FIELD(shared_info, wc_sec_hi, wc_sec_hi);
	FIELD(shared_info, max_pfn, arch.max_pfn);
	FIELD(shared_info, p2m_generation, arch.p2m_generation);
	FIELD(vcpu_info, time, time);
	FIELD(vcpu_time_info, version, version);
	FIELD(vcpu_time_info, tsc_timestamp, tsc_timestamp);
	FIELD(vcpu_time_info, system_time, system_time);
	FIELD(vcpu_time_info, tsc_to_system_mul, tsc_to_system_mul);
	FIELD(vcpu_time_info, tsc_shift, tsc_shift);
	FIELD(vcpu_time_info, flags, flags);
	SIZE(vcpu_time_info);
	FIELD(vcpu_runstate_info, state, state);
	FIELD(vcpu_runstate_info, state_entry_time, state_entry_time);
	FIELD(vcpu_runstate_info, time, time);
	SIZE(vcpu_runstate_info);
}

static void
arguments(void)
{
	FIELD(physdev_irq_status_query, irq, irq);
	FIELD(physdev_irq_status_query, flags, flags);
	SIZE(physdev_irq_status_query);
	FIELD(physdev_eoi, irq, irq);
	SIZE(physdev_eoi);
	FIELD(physdev_map_pirq, domid, domid);
	FIELD(physdev_map_pirq, type, type);
	FIELD(physdev_map_pirq, index, index);
	FIELD(physdev_map_pirq, pirq, pirq);
	FIELD(physdev_map_pirq, bus, bus);
	FIELD(physdev_map_pirq, devfn, devfn);
	FIELD(physdev_map_pirq, entry_nr, entry_nr);
	FIELD(physdev_map_pirq, table_base, table_base);
	SIZE(physdev_map_pirq);
	FIELD(physdev_unmap_pirq, domid, domid);
	FIELD(physdev_unmap_pirq, pirq, pirq);
	SIZE(physdev_unmap_pirq);
	FIELD(physdev_setup_gsi, gsi, gsi);
	FIELD(physdev_setup_gsi, triggering, triggering);
	FIELD(physdev_setup_gsi, polarity, polarity);
	SIZE(physdev_setup_gsi);
	FIELD(evtchn_bind_pirq, pirq, pirq);
	FIELD(evtchn_bind_pirq, flags, flags);
	FIELD(evtchn_bind_pirq, port, port);
	SIZE(evtchn_bind_pirq);
	FIELD(evtchn_alloc_unbound, dom, dom);
	FIELD(evtchn_alloc_unbound, remote_dom, remote_dom);
	FIELD(evtchn_alloc_unbound, port, port);
	SIZE(evtchn_alloc_unbound);
	FIELD(evtchn_bind_interdomain, remote_dom, remote_dom);
	FIELD(evtchn_bind_interdomain, remote_port, remote_port);
	FIELD(evtchn_bind_interdomain, local_port, local_port);
	SIZE(evtchn_bind_interdomain);
	FIELD(evtchn_bind_virq, virq, virq);
	FIELD(evtchn_bind_virq, vcpu, vcpu);
	FIELD(evtchn_bind_virq, port, port);
	SIZE(evtchn_bind_virq);
	FIELD(evtchn_bind_ipi, vcpu, vcpu);
	FIELD(evtchn_bind_ipi, port, port);
	SIZE(evtchn_bind_ipi);
	SIZE(evtchn_close);
	SIZE(evtchn_send);
	SIZE(evtchn_unmask);
	SIZE(evtchn_reset);
	FIELD(evtchn_bind_vcpu, port, port);
	FIELD(evtchn_bind_vcpu, vcpu, vcpu);
	SIZE(evtchn_bind_vcpu);
	FIELD(evtchn_status, dom, dom);
	FIELD(evtchn_status, port, port);
	FIELD(evtchn_status, status, status);
	FIELD(evtchn_status, vcpu, vcpu);
	FIELD(evtchn_status, u.unbound.dom, u.unbound.dom);
	FIELD(evtchn_status, u.interdomain.dom, u.interdomain.dom);
	FIELD(evtchn_status, u.interdomain.port, u.interdomain.port);
	FIELD(evtchn_status, u.virq, u.virq);
	SIZE(evtchn_status);
	FIELD(sched_poll, ports, ports);
	FIELD(sched_poll, nr_ports, nr_ports);
	FIELD(sched_poll, timeout, timeout);
	SIZE(sched_poll);
	FIELD(vcpu_set_periodic_timer, period_ns, period_ns);
	SIZE(vcpu_set_periodic_timer);
	FIELD(vcpu_set_singleshot_timer, timeout_abs_ns, timeout_abs_ns);
	FIELD(vcpu_set_singleshot_timer, flags, flags);
	SIZE(vcpu_set_singleshot_timer);
	FIELD(vcpu_register_vcpu_info, mfn, mfn);
	FIELD(vcpu_register_vcpu_info, offset, offset);
	SIZE(vcpu_register_vcpu_info);
}

/* ... and inc/xen_rings.h, whose rings have names of their own. */
#define PLACE(ours, field, theirs, there)                                                      \
	is_u64(offsetof(struct ours, field), offsetof(struct theirs, there), "%s.%s", #theirs, \
	       #there)

static void
rings(void)
{
	PLACE(xen_console_ring, in, xencons_interface, in);
	PLACE(xen_console_ring, out, xencons_interface, out);
	PLACE(xen_console_ring, in_cons, xencons_interface, in_cons);
	PLACE(xen_console_ring, in_prod, xencons_interface, in_prod);
	PLACE(xen_console_ring, out_cons, xencons_interface, out_cons);
	PLACE(xen_console_ring, out_prod, xencons_interface, out_prod);
	PLACE(xen_store_ring, req, xenstore_domain_interface, req);
	PLACE(xen_store_ring, rsp, xenstore_domain_interface, rsp);
	PLACE(xen_store_ring, req_cons, xenstore_domain_interface, req_cons);
	PLACE(xen_store_ring, req_prod, xenstore_domain_interface, req_prod);
	PLACE(xen_store_ring, rsp_cons, xenstore_domain_interface, rsp_cons);
	PLACE(xen_store_ring, rsp_prod, xenstore_domain_interface, rsp_prod);
	PLACE(xen_store_ring, server_features, xenstore_domain_interface, server_features);
	PLACE(xen_store_ring, error, xenstore_domain_interface, error);
	PLACE(xen_xsd_sockmsg, req_id, xsd_sockmsg, req_id);
	PLACE(xen_xsd_sockmsg, tx_id, xsd_sockmsg, tx_id);
	PLACE(xen_xsd_sockmsg, len, xsd_sockmsg, len);
	SAME(XEN_STORE_RING, XENSTORE_RING_SIZE);
	SAME(XEN_STORE_PAYLOAD, XENSTORE_PAYLOAD_MAX);
	SAME(XEN_STORE_FEATURE_ERROR, XENSTORE_SERVER_FEATURE_ERROR);
	SAME(XEN_STORE_ERROR_RINGIDX, XENSTORE_ERROR_RINGIDX);
	SAME(XEN_STORE_ERROR_PROTO, XENSTORE_ERROR_PROTO);
	SAME(XEN_XS_DIRECTORY, XS_DIRECTORY);
	SAME(XEN_XS_READ, XS_READ);
	SAME(XEN_XS_GET_PERMS, XS_GET_PERMS);
	SAME(XEN_XS_WATCH, XS_WATCH);
	SAME(XEN_XS_UNWATCH, XS_UNWATCH);
	SAME(XEN_XS_TRANSACTION_START, XS_TRANSACTION_START);
	SAME(XEN_XS_TRANSACTION_END, XS_TRANSACTION_END);
	SAME(XEN_XS_INTRODUCE, XS_INTRODUCE);
	SAME(XEN_XS_RELEASE, XS_RELEASE);
	SAME(XEN_XS_GET_DOMAIN_PATH, XS_GET_DOMAIN_PATH);
	SAME(XEN_XS_WRITE, XS_WRITE);
	SAME(XEN_XS_MKDIR, XS_MKDIR);
	SAME(XEN_XS_RM, XS_RM);
	SAME(XEN_XS_SET_PERMS, XS_SET_PERMS);
	SAME(XEN_XS_WATCH_EVENT, XS_WATCH_EVENT);
	SAME(XEN_XS_ERROR, XS_ERROR);
	SAME(XEN_XS_IS_DOMAIN_INTRODUCED, XS_IS_DOMAIN_INTRODUCED);
	SAME(XEN_XS_RESET_WATCHES, XS_RESET_WATCHES);
	SAME(XEN_XS_TYPES, XS_TYPE_COUNT);
	SAME(XEN_STORE_ABS_PATH, XENSTORE_ABS_PATH_MAX);
	SAME(XEN_STORE_REL_PATH, XENSTORE_REL_PATH_MAX);
	SAME(XEN_STORE_ERROR_COMM, XENSTORE_ERROR_COMM);
}

static void
grants(void)
{
#define OP(name) SAME(XEN_GNTTABOP_##name, GNTTABOP_##name)
	OP(map_grant_ref);
	OP(unmap_grant_ref);
	OP(dump_table);
	OP(transfer);
	OP(copy);
	OP(unmap_and_replace);
	OP(get_status_frames);
	OP(swap_grant_ref);
	OP(cache_flush);
	SAME(XEN_GNTTABOP_setup_table, GNTTABOP_setup_table);
	SAME(XEN_GNTTABOP_query_size, GNTTABOP_query_size);
	SAME(XEN_GNTTABOP_set_version, GNTTABOP_set_version);
	SAME(XEN_GNTTABOP_get_version, GNTTABOP_get_version);
#define STATUS(name) SAME(XEN_GNTST_##name, GNTST_##name)
	STATUS(general_error);
	STATUS(bad_domain);
	STATUS(bad_gntref);
	STATUS(bad_handle);
	STATUS(bad_virt_addr);
	STATUS(bad_dev_addr);
	STATUS(permission_denied);
	STATUS(bad_page);
	STATUS(bad_copy_arg);
	STATUS(eagain);
	STATUS(no_space);
	FIELD(gnttab_setup_table, nr_frames, nr_frames);
	FIELD(gnttab_setup_table, status, status);
	FIELD(gnttab_setup_table, frame_list, frame_list);
	SIZE(gnttab_setup_table);
	FIELD(gnttab_query_size, nr_frames, nr_frames);
	FIELD(gnttab_query_size, max_nr_frames, max_nr_frames);
	FIELD(gnttab_query_size, status, status);
	SIZE(gnttab_query_size);
	SIZE(gnttab_set_version);
	FIELD(gnttab_get_version, version, version);
}

static void
granted(void)
{
	is_u64(sizeof(struct xen_grant_entry), sizeof(struct grant_entry_v1), "an entry");
	is_u64(offsetof(struct xen_grant_entry, domid), offsetof(struct grant_entry_v1, domid),
	       "whose it is");
	is_u64(offsetof(struct xen_grant_entry, frame), offsetof(struct grant_entry_v1, frame),
	       "its frame");
	SAME(XEN_GTF_permit_access, GTF_permit_access);
	SAME(XEN_GTF_accept_transfer, GTF_accept_transfer);
	SAME(XEN_GTF_transitive, GTF_transitive);
	SAME(XEN_GTF_type_mask, GTF_type_mask);
	SAME(XEN_GTF_readonly, GTF_readonly);
	SAME(XEN_GTF_reading, GTF_reading);
	SAME(XEN_GTF_writing, GTF_writing);
	SAME(XEN_GTF_sub_page, GTF_sub_page);
	SAME(XEN_GNTMAP_device_map, GNTMAP_device_map);
	SAME(XEN_GNTMAP_host_map, GNTMAP_host_map);
	SAME(XEN_GNTMAP_readonly, GNTMAP_readonly);
	SAME(XEN_GNTMAP_application_map, GNTMAP_application_map);
	SAME(XEN_GNTMAP_contains_pte, GNTMAP_contains_pte);
	SAME(XEN_GNTMAP_guest_avail0, _GNTMAP_guest_avail0);
	SAME(XEN_GNTCOPY_source_gref, GNTCOPY_source_gref);
	SAME(XEN_GNTCOPY_dest_gref, GNTCOPY_dest_gref);
	FIELD(gnttab_map_grant_ref, host_addr, host_addr);
	FIELD(gnttab_map_grant_ref, flags, flags);
	FIELD(gnttab_map_grant_ref, ref, ref);
	FIELD(gnttab_map_grant_ref, dom, dom);
	FIELD(gnttab_map_grant_ref, status, status);
	FIELD(gnttab_map_grant_ref, handle, handle);
	FIELD(gnttab_map_grant_ref, dev_bus_addr, dev_bus_addr);
	SIZE(gnttab_map_grant_ref);
	FIELD(gnttab_unmap_grant_ref, dev_bus_addr, dev_bus_addr);
	FIELD(gnttab_unmap_grant_ref, handle, handle);
	FIELD(gnttab_unmap_grant_ref, status, status);
	SIZE(gnttab_unmap_grant_ref);
	FIELD(gnttab_unmap_and_replace, new_addr, new_addr);
	FIELD(gnttab_unmap_and_replace, handle, handle);
	FIELD(gnttab_unmap_and_replace, status, status);
	SIZE(gnttab_unmap_and_replace);
	FIELD(gnttab_copy, dest, dest);
	FIELD(gnttab_copy, len, len);
	FIELD(gnttab_copy, flags, flags);
	FIELD(gnttab_copy, status, status);
	SIZE(gnttab_copy);
	is_u64(offsetof(struct xen_gnttab_copy_ptr, domid), offsetof(struct gnttab_copy_ptr, domid),
	       "an end's domain");
	is_u64(offsetof(struct xen_gnttab_copy_ptr, offset),
	       offsetof(struct gnttab_copy_ptr, offset), "an end's offset");
}

int
main(void)
{
	rings();
	grants();
	granted();
	numbers();
	shared_page();
	arguments();
	return done_testing();
}

/* BUILD: -D__XEN_INTERFACE_VERSION__=0x00040d00 */
/*
 * inc/xen.h and inc/xen_memory.h against the public headers of Debian's libxen-dev: each number,
 * and each field's place.
 */
#include <stddef.h>
#include <stdint.h>

/* These tags are the same in both: the headers' get other names. */
#define xen_feature_info       feature_info
#define xen_machphys_mapping   machphys_mapping
#define xen_memory_exchange    memory_exchange
#define xen_memory_map         memory_map
#define xen_memory_reservation memory_reservation
#include <xen/xen.h>
#include <xen/elfnote.h>
#include <xen/callback.h>
#include <xen/features.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/version.h>
#undef xen_feature_info
#undef xen_machphys_mapping
#undef xen_memory_exchange
#undef xen_memory_map
#undef xen_memory_reservation

#include <inc/xen_memory.h>

#include "abi.h"

static void
numbers(void)
{
#define CALL(number, name, arguments) SAME(XEN_##name, __HYPERVISOR_##name);
	XEN_HYPERCALLS(CALL)
#undef CALL
	SAME(XEN_FLAT_CS64, FLAT_RING3_CS64);
	SAME(XEN_FLAT_SS64, FLAT_RING3_SS64);
	SAME(XEN_VIRT_START, HYPERVISOR_VIRT_START);
	SAME(XEN_VIRT_END, HYPERVISOR_VIRT_END);
	SAME(XEN_SIF_MOD_START_PFN, SIF_MOD_START_PFN);
	SAME(XEN_CMDLINE, MAX_GUEST_CMDLINE);
	SAME(XEN_VGCF_IN_SYSCALL, VGCF_in_syscall);
	SAME(XEN_FEAT_mmu_pt_update_preserve_ad, XENFEAT_mmu_pt_update_preserve_ad);
	SAME(XEN_UVMF_FLUSHTYPE_MASK, UVMF_FLUSHTYPE_MASK);
	SAME(XEN_UVMF_TLB_FLUSH, UVMF_TLB_FLUSH);
	SAME(XEN_UVMF_INVLPG, UVMF_INVLPG);
	SAME(XEN_DOMID_SELF, DOMID_SELF);
	SAME(XEN_NOTE_ENTRY, XEN_ELFNOTE_ENTRY);
	SAME(XEN_NOTE_HYPERCALL_PAGE, XEN_ELFNOTE_HYPERCALL_PAGE);
	SAME(XEN_NOTE_VIRT_BASE, XEN_ELFNOTE_VIRT_BASE);
	SAME(XEN_NOTE_PADDR_OFFSET, XEN_ELFNOTE_PADDR_OFFSET);
	SAME(XEN_NOTE_XEN_VERSION, XEN_ELFNOTE_XEN_VERSION);
	SAME(XEN_NOTE_GUEST_OS, XEN_ELFNOTE_GUEST_OS);
	SAME(XEN_NOTE_LOADER, XEN_ELFNOTE_LOADER);
	SAME(XEN_NOTE_INIT_P2M, XEN_ELFNOTE_INIT_P2M);
	SAME(XEN_NOTE_MOD_START_PFN, XEN_ELFNOTE_MOD_START_PFN);
	SAME(XEN_SCHEDOP_yield, SCHEDOP_yield);
	SAME(XEN_SCHEDOP_block, SCHEDOP_block);
	SAME(XEN_SCHEDOP_shutdown, SCHEDOP_shutdown);
	SAME(XEN_SHUTDOWN_poweroff, SHUTDOWN_poweroff);
	SAME(XEN_SHUTDOWN_reboot, SHUTDOWN_reboot);
	SAME(XEN_SHUTDOWN_suspend, SHUTDOWN_suspend);
	SAME(XEN_SHUTDOWN_crash, SHUTDOWN_crash);
	SAME(XEN_CONSOLEIO_write, CONSOLEIO_write);
	SAME(XEN_CONSOLEIO_read, CONSOLEIO_read);
	SAME(XEN_XENVER_version, XENVER_version);
	SAME(XEN_XENVER_extraversion, XENVER_extraversion);
	SAME(XEN_XENVER_capabilities, XENVER_capabilities);
	SAME(XEN_XENVER_get_features, XENVER_get_features);
	SAME(XEN_XENVER_pagesize, XENVER_pagesize);
	SAME(XEN_XENMEM_increase_reservation, XENMEM_increase_reservation);
	SAME(XEN_XENMEM_decrease_reservation, XENMEM_decrease_reservation);
	SAME(XEN_XENMEM_maximum_ram_page, XENMEM_maximum_ram_page);
	SAME(XEN_XENMEM_populate_physmap, XENMEM_populate_physmap);
	SAME(XEN_XENMEM_exchange, XENMEM_exchange);
	SAME(XEN_MEMF_address_bits, XENMEMF_get_address_bits(~0u));
	SAME(XEN_MEMF_populate_on_demand, XENMEMF_populate_on_demand);
	SAME(XEN_XENMEM_current_reservation, XENMEM_current_reservation);
	SAME(XEN_XENMEM_maximum_reservation, XENMEM_maximum_reservation);
	SAME(XEN_XENMEM_memory_map, XENMEM_memory_map);
	SAME(XEN_XENMEM_machphys_mapping, XENMEM_machphys_mapping);
	SAME(XEN_FEAT_gnttab_map_avail_bits, XENFEAT_gnttab_map_avail_bits);
	SAME(XEN_MMUEXT_NEW_BASEPTR, MMUEXT_NEW_BASEPTR);
	SAME(XEN_MMUEXT_NEW_USER_BASEPTR, MMUEXT_NEW_USER_BASEPTR);
	SAME(XEN_MMUEXT_TLB_FLUSH_LOCAL, MMUEXT_TLB_FLUSH_LOCAL);
	SAME(XEN_MMUEXT_INVLPG_LOCAL, MMUEXT_INVLPG_LOCAL);
	SAME(XEN_MMUEXT_SET_LDT, MMUEXT_SET_LDT);
	SAME(XEN_SEGBASE_FS, SEGBASE_FS);
	SAME(XEN_SEGBASE_GS_USER, SEGBASE_GS_USER);
	SAME(XEN_SEGBASE_GS_KERNEL, SEGBASE_GS_KERNEL);
	SAME(XEN_SEGBASE_GS_USER_SEL, SEGBASE_GS_USER_SEL);
	SAME(XEN_CALLBACKOP_register, CALLBACKOP_register);
	SAME(XEN_CALLBACKOP_unregister, CALLBACKOP_unregister);
	SAME(XEN_CALLBACKTYPE_event, CALLBACKTYPE_event);
	SAME(XEN_CALLBACKTYPE_failsafe, CALLBACKTYPE_failsafe);
	SAME(XEN_CALLBACKTYPE_syscall, CALLBACKTYPE_syscall);
	SAME(XEN_CALLBACKTYPE_nmi, CALLBACKTYPE_nmi);
	SAME(XEN_CALLBACKF_mask_events, CALLBACKF_mask_events);
	SAME(XEN_VMASST_CMD_enable, VMASST_CMD_enable);
	SAME(XEN_VMASST_CMD_disable, VMASST_CMD_disable);
	SAME(XEN_VMASST_TYPE_writable_pagetables, VMASST_TYPE_writable_pagetables);
	SAME(XEN_VMASST_TYPE_pae_extended_cr3, VMASST_TYPE_pae_extended_cr3);
	SAME(XEN_VMASST_TYPE_runstate_update_flag, VMASST_TYPE_runstate_update_flag);
}

static void
layouts(void)
{
	FIELD(start_info, magic, magic);
	FIELD(start_info, nr_pages, nr_pages);
	FIELD(start_info, shared_info, shared_info);
	FIELD(start_info, flags, flags);
	FIELD(start_info, store_mfn, store_mfn);
	FIELD(start_info, store_evtchn, store_evtchn);
	FIELD(start_info, console_mfn, console.domU.mfn);
	FIELD(start_info, console_evtchn, console.domU.evtchn);
	FIELD(start_info, pt_base, pt_base);
	FIELD(start_info, nr_pt_frames, nr_pt_frames);
	FIELD(start_info, mfn_list, mfn_list);
	FIELD(start_info, mod_start, mod_start);
	FIELD(start_info, mod_len, mod_len);
	FIELD(start_info, cmd_line, cmd_line);
	FIELD(start_info, first_p2m_pfn, first_p2m_pfn);
	FIELD(start_info, nr_p2m_frames, nr_p2m_frames);
	SIZE(start_info);
	FIELD(vcpu_info, upcall_pending, evtchn_upcall_pending);
	FIELD(vcpu_info, upcall_mask, evtchn_upcall_mask);
	FIELD(vcpu_info, pending_sel, evtchn_pending_sel);
	FIELD(vcpu_info, cr2, arch.cr2);
	SIZE(vcpu_info);
	is_u64(offsetof(struct shared_info, vcpu_info), 0, "vcpu_info is first in shared_info");
	FIELD(trap_info, vector, vector);
	FIELD(trap_info, flags, flags);
	FIELD(trap_info, cs, cs);
	FIELD(trap_info, address, address);
	SIZE(trap_info);
	FIELD(callback_register, type, type);
	FIELD(callback_register, flags, flags);
	FIELD(callback_register, address, address);
	SIZE(callback_register);
	FIELD(multicall_entry, op, op);
	FIELD(multicall_entry, result, result);
	FIELD(multicall_entry, args, args);
	SIZE(multicall_entry);
	FIELD(iret_context, rax, rax);
	FIELD(iret_context, r11, r11);
	FIELD(iret_context, rcx, rcx);
	FIELD(iret_context, flags, flags);
	FIELD(iret_context, rip, rip);
	FIELD(iret_context, cs, cs);
	FIELD(iret_context, rflags, rflags);
	FIELD(iret_context, rsp, rsp);
	FIELD(iret_context, ss, ss);
	SIZE(iret_context);
	FIELD(feature_info, submap_idx, submap_idx);
	FIELD(feature_info, submap, submap);
	FIELD(machphys_mapping, v_start, v_start);
	FIELD(machphys_mapping, v_end, v_end);
	FIELD(machphys_mapping, max_mfn, max_mfn);
	FIELD(mmu_update, ptr, ptr);
	FIELD(mmu_update, val, val);
	SIZE(mmu_update);
	FIELD(memory_map, nr_entries, nr_entries);
	FIELD(memory_map, buffer, buffer);
	SIZE(memory_map);
	FIELD(mmuext_op, cmd, cmd);
	FIELD(mmuext_op, arg1, arg1);
	FIELD(mmuext_op, arg2, arg2);
	SIZE(mmuext_op);
}

static void
reservations(void)
{
	FIELD(memory_reservation, extent_start, extent_start);
	FIELD(memory_reservation, nr_extents, nr_extents);
	FIELD(memory_reservation, extent_order, extent_order);
	FIELD(memory_reservation, mem_flags, mem_flags);
	FIELD(memory_reservation, domid, domid);
	SIZE(memory_reservation);
	FIELD(memory_exchange, in, in);
	FIELD(memory_exchange, out, out);
	FIELD(memory_exchange, nr_exchanged, nr_exchanged);
	SIZE(memory_exchange);
}

int
main(void)
{
	numbers();
	layouts();
	reservations();
	return done_testing();
}

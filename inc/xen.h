/*
 * What a 64-bit PV guest and its hypervisor say to each other: Xen's ABI, as far as Zeno has it.
 *
 * The specification is xen/include/public of Debian's libxen-dev (4.17); each name here is that of
 * the headers with XEN_ or xen_ before it, and tests/unit/xen_abi.c compares numbers and layouts.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * xen.h, "HYPERCALLS": CALL(number, name, how many arguments). Guest and monitor have their numbers
 * from here, and so the names of those that Zeno does not do.
 */
#define XEN_HYPERCALLS(CALL)           \
	CALL(0, set_trap_table, 1)     \
	CALL(1, mmu_update, 4)         \
	CALL(2, set_gdt, 2)            \
	CALL(3, stack_switch, 2)       \
	CALL(4, set_callbacks, 3)      \
	CALL(5, fpu_taskswitch, 1)     \
	CALL(8, set_debugreg, 2)       \
	CALL(9, get_debugreg, 1)       \
	CALL(10, update_descriptor, 2) \
	CALL(12, memory_op, 2)         \
	CALL(13, multicall, 2)         \
	CALL(14, update_va_mapping, 3) \
	CALL(15, set_timer_op, 1)      \
	CALL(17, xen_version, 2)       \
	CALL(18, console_io, 3)        \
	CALL(20, grant_table_op, 3)    \
	CALL(21, vm_assist, 2)         \
	CALL(23, iret, 0)              \
	CALL(24, vcpu_op, 3)           \
	CALL(25, set_segment_base, 2)  \
	CALL(26, mmuext_op, 4)         \
	CALL(29, sched_op, 2)          \
	CALL(30, callback_op, 2)       \
	CALL(32, event_channel_op, 2)  \
	CALL(33, physdev_op, 2)        \
	CALL(34, hvm_op, 2)
enum xen_hypercall {
#define CALL(number, name, arguments) XEN_##name = number,
	XEN_HYPERCALLS(CALL)
#undef CALL
		XEN_HYPERCALL_COUNT = 64 /* numbers have room for these */
};

/* Selectors of a PV guest, kernel and user alike (arch-x86/xen-x86_64.h). */
#define XEN_FLAT_CS64 0xe033
#define XEN_FLAT_SS64 0xe02b

/* The hole: the monitor's; guests have what is below and above (arch-x86/xen-x86_64.h). */
#define XEN_VIRT_START 0xffff800000000000ul
#define XEN_VIRT_END   0xffff880000000000ul

/* elfnote.h: how a kernel's image says what it wants. */
enum xen_note {
	XEN_NOTE_ENTRY = 1,
	XEN_NOTE_HYPERCALL_PAGE = 2,
	XEN_NOTE_VIRT_BASE = 3,
	XEN_NOTE_PADDR_OFFSET = 4,
	XEN_NOTE_XEN_VERSION = 5,
	XEN_NOTE_GUEST_OS = 6,
	XEN_NOTE_LOADER = 8,
	XEN_NOTE_INIT_P2M = 15,
	XEN_NOTE_MOD_START_PFN = 16,
};

/* xen.h, struct start_info; where the kernel finds it is in RSI. */
#define XEN_START_MAGIC       "xen-3.0-x86_64"
#define XEN_SIF_INITDOMAIN    2u /* it is dom0 */
#define XEN_SIF_MOD_START_PFN 8u /* mod_start is a pfn */
#define XEN_CMDLINE           1024
struct xen_start_info {
	char magic[32];
	uint64_t nr_pages;
	uint64_t shared_info; /* machine address */
	uint32_t flags;
	uint64_t store_mfn;
	uint32_t store_evtchn;
	uint64_t console_mfn;
	uint32_t console_evtchn;
	uint64_t pt_base; /* linear */
	uint64_t nr_pt_frames;
	uint64_t mfn_list; /* linear: the p2m, a uint64_t per page */
	uint64_t mod_start, mod_len;
	char cmd_line[XEN_CMDLINE];
	uint64_t first_p2m_pfn, nr_p2m_frames;
};

/*
 * xen.h, struct vcpu_time_info. Odd versions: it is being written. Time is system_time + ((tsc -
 * tsc_timestamp) << tsc_shift) * tsc_to_system_mul / 2^32, where a negative shift is one to the
 * right.
 */
struct xen_vcpu_time_info {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time; /* ns since the domain began */
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad1[2];
};

/* xen.h, struct vcpu_info */
struct xen_vcpu_info {
	uint8_t upcall_pending, upcall_mask;
	uint64_t pending_sel; /* a bit for each 64 ports */
	uint64_t cr2;         /* of the last #PF */
	uint64_t pad;
	struct xen_vcpu_time_info time;
};

struct xen_trap_info {
	uint8_t vector;
	uint8_t flags; /* who may come by int n: a level 0-3; events are masked in the handler */
	uint16_t cs;
	uint64_t address; /* 0 ends the table */
};
#define XEN_TRAP_LEVEL 3u
#define XEN_TRAP_MASKS 4u

/* arch-x86/xen-x86_64.h, HYPERVISOR_set_segment_base */
enum xen_segment_base {
	XEN_SEGBASE_FS,
	XEN_SEGBASE_GS_USER,
	XEN_SEGBASE_GS_KERNEL,
	XEN_SEGBASE_GS_USER_SEL, /* a selector: its descriptor's base */
};

/* callback.h */
enum xen_callback_op { XEN_CALLBACKOP_register, XEN_CALLBACKOP_unregister };
enum xen_callback_type {
	XEN_CALLBACKTYPE_event = 0,
	XEN_CALLBACKTYPE_failsafe = 1,
	XEN_CALLBACKTYPE_syscall = 2,
	XEN_CALLBACKTYPE_nmi = 4,
};
#define XEN_CALLBACKF_mask_events 1u
struct xen_callback_register {
	uint16_t type, flags;
	uint64_t address;
};

/* xen.h, "Commands to HYPERVISOR_vm_assist()" */
enum xen_vm_assist { XEN_VMASST_CMD_enable, XEN_VMASST_CMD_disable };
enum xen_vm_assist_type {
	XEN_VMASST_TYPE_writable_pagetables = 2,
	XEN_VMASST_TYPE_pae_extended_cr3 = 3, /* which 64-bit kernels have anyway */
	XEN_VMASST_TYPE_runstate_update_flag = 5,
};

struct xen_multicall_entry {
	uint64_t op, result, args[6];
};

/* arch-x86/xen-x86_64.h, struct iret_context: what iret finds at the guest's RSP. */
struct xen_iret_context {
	uint64_t rax, r11, rcx, flags, rip, cs, rflags, rsp, ss;
};
#define XEN_VGCF_IN_SYSCALL 0x100u /* rcx and r11 are not restored */

#define XEN_FEAT_writable_page_tables      0 /* features.h: a bit's number */
#define XEN_FEAT_auto_translated_physmap   2
#define XEN_FEAT_mmu_pt_update_preserve_ad 5
#define XEN_FEAT_gnttab_map_avail_bits     7
#define XEN_FEAT_hvm_callback_vector       8
#define XEN_FEAT_hvm_safe_pvclock          9
struct xen_feature_info {
	uint32_t submap_idx, submap;
};

struct xen_machphys_mapping {
	uint64_t v_start, v_end, max_mfn;
};

/* xen.h, struct mmu_update: a machine address whose low bits say what is done; and the entry. */
struct xen_mmu_update {
	uint64_t ptr, val;
};
enum xen_mmu { XEN_MMU_NORMAL_PT_UPDATE, XEN_MMU_MACHPHYS_UPDATE, XEN_MMU_PT_UPDATE_PRESERVE_AD };

struct xen_memory_map {
	uint32_t nr_entries; /* of the buffer; then: that are there */
	uint64_t buffer;     /* of struct xen_e820 */
};
#define XEN_E820_RAM 1u
struct xen_e820 {
	uint64_t base, size;
	uint32_t type;
} __attribute__((packed));

struct xen_mmuext_op {
	uint32_t cmd, pad;
	uint64_t arg1, arg2; /* arg1: mfn or linear address */
};

enum xen_version_op {
	XEN_XENVER_version = 0,
	XEN_XENVER_extraversion = 1,
	XEN_XENVER_capabilities = 3,
	XEN_XENVER_get_features = 6,
	XEN_XENVER_pagesize = 7,
};
enum xen_sched_op { XEN_SCHEDOP_yield, XEN_SCHEDOP_block, XEN_SCHEDOP_shutdown, XEN_SCHEDOP_poll };
enum xen_shutdown {
	XEN_SHUTDOWN_poweroff,
	XEN_SHUTDOWN_reboot,
	XEN_SHUTDOWN_suspend,
	XEN_SHUTDOWN_crash
};
enum xen_console_op { XEN_CONSOLEIO_write, XEN_CONSOLEIO_read };
enum xen_memory_op {
	XEN_XENMEM_increase_reservation = 0,
	XEN_XENMEM_decrease_reservation = 1,
	XEN_XENMEM_maximum_ram_page = 2,
	XEN_XENMEM_current_reservation = 3,
	XEN_XENMEM_maximum_reservation = 4,
	XEN_XENMEM_populate_physmap = 6,
	XEN_XENMEM_add_to_physmap = 7,
	XEN_XENMEM_memory_map = 9,
	XEN_XENMEM_exchange = 11,
	XEN_XENMEM_machphys_mapping = 12,
};
enum xen_mmuext {
	XEN_MMUEXT_PIN_L1_TABLE,
	XEN_MMUEXT_PIN_L2_TABLE,
	XEN_MMUEXT_PIN_L3_TABLE,
	XEN_MMUEXT_PIN_L4_TABLE,
	XEN_MMUEXT_UNPIN_TABLE,
	XEN_MMUEXT_NEW_BASEPTR,
	XEN_MMUEXT_TLB_FLUSH_LOCAL,
	XEN_MMUEXT_INVLPG_LOCAL,
	XEN_MMUEXT_TLB_FLUSH_MULTI,
	XEN_MMUEXT_INVLPG_MULTI,
	XEN_MMUEXT_TLB_FLUSH_ALL,
	XEN_MMUEXT_INVLPG_ALL,
	XEN_MMUEXT_SET_LDT = 13, /* arg1: linear address, arg2: entries */
	XEN_MMUEXT_NEW_USER_BASEPTR = 15,
};
#define XEN_UVMF_FLUSHTYPE_MASK 3ul
#define XEN_UVMF_TLB_FLUSH      1ul
#define XEN_UVMF_INVLPG         2ul
#define XEN_DOMID_SELF          0x7ff0u

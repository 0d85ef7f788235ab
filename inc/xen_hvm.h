/*
 * What Xen's ABI has for guests with a CPU of their own (HVM, PVH) beside what inc/xen.h has: how
 * they find their monitor, and how it finds them. Names as in inc/xen.h.
 */
#pragma once

#include <inc/xen.h>

/* arch-x86/cpuid.h: the leaves in which a monitor says who it is. */
#define XEN_CPUID_BASE    0x40000000u
#define XEN_CPUID_LEAVES  5u          /* as many as Zeno has */
#define XEN_CPUID_EBX     0x566e6558u /* "XenVMMXenVMM" */
#define XEN_CPUID_ECX     0x65584d4du
#define XEN_CPUID_EDX     0x4d4d566eu
#define XEN_CPUID_VCPU_ID (1u << 3) /* of leaf 4: EBX has it */
#define XEN_CPUID_DOMID   (1u << 4) /* ... ECX has it */
/* By leaf 2; whoever writes a guest-physical address there finds hypercall stubs in that page. */
#define XEN_HYPERCALL_MSR 0x40000000u
#define XEN_STUB          32u /* bytes of each, by the hypercall's number */

/* hvm/hvm_op.h, hvm/params.h */
enum xen_hvm_op { XEN_HVMOP_set_param, XEN_HVMOP_get_param };
enum xen_hvm_params {
	XEN_HVM_PARAM_CALLBACK_IRQ = 0,
	XEN_HVM_PARAM_STORE_PFN = 1,
	XEN_HVM_PARAM_STORE_EVTCHN = 2,
	XEN_HVM_PARAM_CONSOLE_PFN = 17,
	XEN_HVM_PARAM_CONSOLE_EVTCHN = 18,
};
#define XEN_HVM_CALLBACK_TYPE_SHIFT 56u
#define XEN_HVM_CALLBACK_VECTOR     2u /* that type: the low 8 bits are an interrupt's vector */
struct xen_hvm_param {
	uint16_t domid;
	uint32_t index;
	uint64_t value;
};

/* memory.h, XENMEM_add_to_physmap: what the guest wants to see behind one of its frames. */
enum xen_mapspace { XEN_XENMAPSPACE_shared_info, XEN_XENMAPSPACE_grant_table };
struct xen_add_to_physmap {
	uint16_t domid, size;
	uint32_t space;
	uint64_t idx, gpfn;
};

/* BUILD: -D__XEN_INTERFACE_VERSION__=0x00040d00 */
/*
 * inc/xen_hvm.h against the public headers of Debian's libxen-dev: each number, and each field's
 * place.
 */
#include <stddef.h>
#include <stdint.h>

/* These tags are the same in both: the headers' get other names. */
#define xen_add_to_physmap   add_to_physmap
#define xen_feature_info     feature_info
#define xen_hvm_param        hvm_param
#define xen_machphys_mapping machphys_mapping
#define xen_memory_map       memory_map
#include <xen/xen.h>
#include <xen/features.h>
#include <xen/memory.h>
#include <xen/arch-x86/cpuid.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#undef xen_add_to_physmap
#undef xen_feature_info
#undef xen_hvm_param
#undef xen_machphys_mapping
#undef xen_memory_map

/* cpuid.h's names are ours as well. */
static const uint64_t theirs[] = {
	XEN_CPUID_SIGNATURE_EBX, XEN_CPUID_SIGNATURE_ECX,       XEN_CPUID_SIGNATURE_EDX,
	XEN_CPUID_FIRST_LEAF,    XEN_HVM_CPUID_VCPU_ID_PRESENT, XEN_HVM_CPUID_DOMID_PRESENT,
};

#include <inc/xen_hvm.h>

#include "abi.h"

int
main(void)
{
	SAME(XEN_CPUID_EBX, theirs[0]);
	SAME(XEN_CPUID_ECX, theirs[1]);
	SAME(XEN_CPUID_EDX, theirs[2]);
	SAME(XEN_CPUID_BASE, theirs[3]);
	SAME(XEN_CPUID_VCPU_ID, theirs[4]);
	SAME(XEN_CPUID_DOMID, theirs[5]);
	SAME(XEN_HVMOP_set_param, HVMOP_set_param);
	SAME(XEN_HVMOP_get_param, HVMOP_get_param);
	SAME(XEN_HVM_PARAM_CALLBACK_IRQ, HVM_PARAM_CALLBACK_IRQ);
	SAME(XEN_HVM_PARAM_STORE_PFN, HVM_PARAM_STORE_PFN);
	SAME(XEN_HVM_PARAM_STORE_EVTCHN, HVM_PARAM_STORE_EVTCHN);
	SAME(XEN_HVM_PARAM_CONSOLE_PFN, HVM_PARAM_CONSOLE_PFN);
	SAME(XEN_HVM_PARAM_CONSOLE_EVTCHN, HVM_PARAM_CONSOLE_EVTCHN);
	SAME(XEN_HVM_CALLBACK_VECTOR, HVM_PARAM_CALLBACK_TYPE_VECTOR);
	SAME(0xfful << XEN_HVM_CALLBACK_TYPE_SHIFT, HVM_PARAM_CALLBACK_IRQ_TYPE_MASK);
	SAME(XEN_XENMAPSPACE_shared_info, XENMAPSPACE_shared_info);
	SAME(XEN_XENMAPSPACE_grant_table, XENMAPSPACE_grant_table);
	SAME(XEN_XENMEM_add_to_physmap, XENMEM_add_to_physmap);
	SAME(XEN_FEAT_writable_page_tables, XENFEAT_writable_page_tables);
	SAME(XEN_FEAT_auto_translated_physmap, XENFEAT_auto_translated_physmap);
	SAME(XEN_FEAT_hvm_callback_vector, XENFEAT_hvm_callback_vector);
	SAME(XEN_FEAT_hvm_safe_pvclock, XENFEAT_hvm_safe_pvclock);
	FIELD(add_to_physmap, domid, domid);
	FIELD(add_to_physmap, size, size);
	FIELD(add_to_physmap, space, space);
	FIELD(add_to_physmap, idx, idx);
	FIELD(add_to_physmap, gpfn, gpfn);
	SIZE(add_to_physmap);
	FIELD(hvm_param, domid, domid);
	FIELD(hvm_param, index, index);
	FIELD(hvm_param, value, value);
	SIZE(hvm_param);
	return done_testing();
}

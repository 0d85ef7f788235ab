/*
 * What a vCPU begins with, as another one of its domain says it: VCPUOP_initialise. Names as in
 * inc/xen.h.
 */
#pragma once

#include <inc/xen.h>

/* arch-x86/xen-x86_64.h, struct cpu_user_regs */
struct xen_user_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint32_t error_code, entry_vector;
	uint64_t rip;
	uint16_t cs, pad0;
	uint8_t saved_upcall_mask, pad1[3];
	uint64_t rflags, rsp;
	uint16_t ss, pad2[3], es, pad3[3], ds, pad4[3], fs, pad5[3], gs, pad6[3];
};

/* arch-x86/xen.h, struct vcpu_guest_context */
#define XEN_VGCF_I387_VALID               (1ul << 0)
#define XEN_VGCF_IN_KERNEL                (1ul << 2)
#define XEN_VGCF_FAILSAFE_DISABLES_EVENTS (1ul << 3)
#define XEN_VGCF_SYSCALL_DISABLES_EVENTS  (1ul << 4)
#define XEN_VGCF_ONLINE                   (1ul << 5)
struct xen_guest_context {
	uint8_t fpu[512] __attribute__((aligned(16))); /* as by fxsave */
	uint64_t flags;                                /* XEN_VGCF_ */
	struct xen_user_regs regs;
	struct xen_trap_info traps[256]; /* by vector */
	uint64_t ldt_base, ldt_entries;  /* linear, in its own space */
	uint64_t gdt_frames[16], gdt_entries;
	uint64_t kernel_ss, kernel_sp;
	uint64_t ctrlreg[8]; /* 1 and 3: roots of user and kernel */
	uint64_t debugreg[8];
	uint64_t event_callback, failsafe_callback, syscall_callback;
	uint64_t vm_assist;
	uint64_t fs_base, gs_base_kernel, gs_base_user;
};
#define XEN_CR3_FRAME(cr3) ((cr3) >> 12)

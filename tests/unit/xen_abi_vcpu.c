/* BUILD: -D__XEN_INTERFACE_VERSION__=0x00040d00 */
/*
 * inc/xen_vcpu.h against the public headers of Debian's libxen-dev: what a vCPU begins with.
 */
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>

#include <inc/xen_vcpu.h>

#include "abi.h"

#define xen_cpu_user_regs      xen_user_regs /* as the macros name them */
#define xen_vcpu_guest_context xen_guest_context
#define REG(ours, theirs)      FIELD(cpu_user_regs, ours, theirs)
#define CONTEXT(ours, theirs)  FIELD(vcpu_guest_context, ours, theirs)

static void
registers(void)
{
	REG(r15, r15);
	REG(r12, r12);
	REG(rbp, rbp);
	REG(rbx, rbx);
	REG(r11, r11);
	REG(r8, r8);
	REG(rax, rax);
	REG(rcx, rcx);
	REG(rdx, rdx);
	REG(rsi, rsi);
	REG(rdi, rdi);
	REG(rip, rip);
	REG(cs, cs);
	REG(rflags, rflags);
	REG(rsp, rsp);
	REG(ss, ss);
	REG(es, es);
	REG(ds, ds);
	REG(fs, fs);
	REG(gs, gs);
	SIZE(cpu_user_regs);
}

static void
context(void)
{
	CONTEXT(fpu, fpu_ctxt);
	CONTEXT(flags, flags);
	CONTEXT(regs, user_regs);
	CONTEXT(traps, trap_ctxt);
	CONTEXT(ldt_base, ldt_base);
	CONTEXT(ldt_entries, ldt_ents);
	CONTEXT(gdt_frames, gdt_frames);
	CONTEXT(gdt_entries, gdt_ents);
	CONTEXT(kernel_ss, kernel_ss);
	CONTEXT(kernel_sp, kernel_sp);
	CONTEXT(ctrlreg, ctrlreg);
	CONTEXT(debugreg, debugreg);
	CONTEXT(event_callback, event_callback_eip);
	CONTEXT(failsafe_callback, failsafe_callback_eip);
	CONTEXT(syscall_callback, syscall_callback_eip);
	CONTEXT(vm_assist, vm_assist);
	CONTEXT(fs_base, fs_base);
	CONTEXT(gs_base_kernel, gs_base_kernel);
	CONTEXT(gs_base_user, gs_base_user);
	SIZE(vcpu_guest_context);
	SAME(XEN_VGCF_I387_VALID, VGCF_I387_VALID);
	SAME(XEN_VGCF_IN_KERNEL, VGCF_in_kernel);
	SAME(XEN_VGCF_FAILSAFE_DISABLES_EVENTS, VGCF_failsafe_disables_events);
	SAME(XEN_VGCF_SYSCALL_DISABLES_EVENTS, VGCF_syscall_disables_events);
	SAME(XEN_VGCF_ONLINE, VGCF_online);
	SAME(XEN_CR3_FRAME(0x123456789000), xen_cr3_to_pfn(0x123456789000));
}

int
main(void)
{
	registers();
	context();
	return done_testing();
}

; Lab 4, exercise 4.2: into the guest by VMLAUNCH or VMRESUME, and back.
;
; The CPU loads the guest's half of the VMCS and, at an exit, the host's: CS, RIP, RSP and RFLAGS
; (which are 2: IF and DF are 0), CR0, CR3, CR4, FS, GS, TR, GDTR, IDTR, EFER, PAT, and the MSRs of
; its lists. The general registers but RSP are ours.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

%include "inc/exercise.inc"
%include "vmm/x86/state.inc"

%define HOST_RSP 0x6c14			; enum vmcs_field
%define ENTERED		0		; enum vmx_entry: a guest ran, or its state was refused
%define NO_VMCS		1		; nothing ran: no VMCS is current
%define REFUSED_VMCS	2		; nothing ran: the error is in the VMCS

default rel
section .text

; EXERCISE 4.0: room for helpers of your own. Nothing has to stand here.
; END EXERCISE 4.0

; int vmx_enter(uint64_t gpr[GPR_COUNT], bool launched);
;               rdi                      sil
;
; The VMCS's field "host RIP" has the address of vmx_exited.
;
;        | return address     |
;        | rbp rbx r12 .. r15 |
;        | rdi: gpr           |  [rsp]
global vmx_enter:function hidden
global vmx_exited:data hidden
vmx_enter:
	push	rbp
	push	rbx
	push	r12
	push	r13
	push	r14
	push	r15
	push	rdi
	; EXERCISE 4.2: into the guest and back
	; Holds: eax is one of enum vmx_entry, the stack is as here, gpr[] has the guest's registers; at an exit
	;  the CPU comes back to vmx_exited.
	; Beware: no register of the host's lives through the guest's time. One is the VMCS's. A VMCS is
	;  launched once. Refusals return elsewhere.
	; Manual: SDM 3C "Conventions", "VMLAUNCH/VMRESUME", "Loading Host RIP, RSP, RFLAGS, and SSP", "VM-Entry
	;  Failures During or After Loading Guest State".
	; Tools: ENTERED, GPR_RAX, GPR_RBP, GPR_RBX, GPR_RCX, GPR_RDI, GPR_RDX, GPR_RSI, GPR_RSP of
	;  vmm/x86/state.inc, HOST_RSP, NO_VMCS, REFUSED_VMCS
	EXERCISE_TODO 4, 2, "handouts/lab4a.md#ex-4-2"
	mov eax, NO_VMCS
vmx_exited:
	; END EXERCISE 4.2
	add	rsp, 8
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbx
	pop	rbp
	ret

section .note.GNU-stack noalloc noexec nowrite progbits

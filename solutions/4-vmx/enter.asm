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
	; Hint: which of the guest's registers can hold the address of gpr[] up to the last moment, and where is
	;  that address at the first moment behind?
	; Hint: draw a road that forks at the instruction of entry. One way goes on below it, and the registers
	;  there are the host's or the guest's, but nothing of them has to be kept. The other begins at a label
	;  far away, with one host register that is worth anything. Both meet at the end, with an answer in eax.
	; Hint: on AMD-V both ways are one place behind VMRUN, and rax and rsp are the VMCB's. One writes
	;  `push rdi` there, takes gpr from the stack, stores the others by it, and pops the pushed one into its
	;  place. No flag of the CPU's says whether the guest ran: the exit code does.
	; until then: mov eax, NO_VMCS
	; until then: vmx_exited:
	mov	eax, HOST_RSP
	vmwrite	rax, rsp
	jbe	refused			; no VMCS is current
	test	sil, sil		; no mov changes flags: they hold to the jump below
	mov	rax, [rdi + GPR_RAX]
	mov	rcx, [rdi + GPR_RCX]
	mov	rdx, [rdi + GPR_RDX]
	mov	rbx, [rdi + GPR_RBX]
	mov	rbp, [rdi + GPR_RBP]
	mov	rsi, [rdi + GPR_RSI]
%assign n 8
%rep 8
	mov	r%[n], [rdi + 8 * n]
%assign n n + 1
%endrep
	mov	rdi, [rdi + GPR_RDI]
	jnz	.resume
	vmlaunch
	jmp	refused
.resume:
	vmresume
refused:
	mov	eax, NO_VMCS		; CF: SDM 3C 31.2, VMfailInvalid
	mov	ecx, REFUSED_VMCS
	cmovz	eax, ecx		; ZF: VMfailValid
	jmp	out_of_it
vmx_exited:
	push	rdi
	mov	rdi, [rsp + 8]
	mov	[rdi + GPR_RAX], rax
	mov	[rdi + GPR_RCX], rcx
	mov	[rdi + GPR_RDX], rdx
	mov	[rdi + GPR_RBX], rbx
	mov	[rdi + GPR_RBP], rbp
	mov	[rdi + GPR_RSI], rsi
%assign n 8
%rep 8
	mov	[rdi + 8 * n], r%[n]
%assign n n + 1
%endrep
	pop	qword [rdi + GPR_RDI]
	mov	eax, ENTERED
out_of_it:
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

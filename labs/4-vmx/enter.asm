; Into the guest by VMLAUNCH or VMRESUME, and back.
;
; The CPU loads the guest's half of the VMCS and, at an exit, the host's: CS, RIP, RSP and RFLAGS
; (which are 2: IF and DF are 0), CR0, CR3, CR4, FS, GS, TR, GDTR, IDTR, EFER, PAT, and the MSRs of
; its lists. The general registers but RSP are ours.
;
; It comes back in one of two places (SDM 3C 27.8 "VM-Entry Failures During or After Loading Guest
; State" is an exit like any other):
;   vmx_exited          the guest ran, or its state was refused
;   behind vmlaunch     CF or ZF: the controls or the host's state were refused; nothing was loaded
; Both return from here, with one answer.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

default rel
section .text

%assign RAX_AT 0			; enum gpr
%assign RCX_AT 8 * 1
%assign RDX_AT 8 * 2
%assign RBX_AT 8 * 3
%assign RBP_AT 8 * 5
%assign RSI_AT 8 * 6
%assign RDI_AT 8 * 7
%define NUMBERED(n) (8 * (n))
%define HOST_RSP 0x6c14			; enum vmcs_field

%define ENTERED		0		; enum vmx_entry
%define NO_VMCS		1
%define REFUSED_VMCS	2

; int vmx_enter(uint64_t gpr[GPR_COUNT], bool launched);
;
;        | return address     |
;        | rbp rbx r12 .. r15 |
;        | rdi: gpr           |  <- rsp in the guest's time, HOST_RSP
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
	mov	eax, HOST_RSP
	vmwrite	rax, rsp
	jbe	.refused			; no VMCS is current
	test	sil, sil			; no mov changes flags: they hold to the jump below
	mov	rax, [rdi + RAX_AT]
	mov	rcx, [rdi + RCX_AT]
	mov	rdx, [rdi + RDX_AT]
	mov	rbx, [rdi + RBX_AT]
	mov	rbp, [rdi + RBP_AT]
	mov	rsi, [rdi + RSI_AT]
%assign n 8
%rep 8
	mov	r%[n], [rdi + NUMBERED(n)]
%assign n n + 1
%endrep
	mov	rdi, [rdi + RDI_AT]
	jnz	.resume
	vmlaunch
	jmp	.refused
.resume:
	vmresume
.refused:
	mov	eax, NO_VMCS			; CF: SDM 3C 31.2, VMfailInvalid
	mov	ecx, REFUSED_VMCS
	cmovz	eax, ecx			; ZF: VMfailValid, the error is in the VMCS
	jmp	leave

vmx_exited:
	push	rdi
	mov	rdi, [rsp + 8]
	mov	[rdi + RAX_AT], rax
	mov	[rdi + RCX_AT], rcx
	mov	[rdi + RDX_AT], rdx
	mov	[rdi + RBX_AT], rbx
	mov	[rdi + RBP_AT], rbp
	mov	[rdi + RSI_AT], rsi
%assign n 8
%rep 8
	mov	[rdi + NUMBERED(n)], r%[n]
%assign n n + 1
%endrep
	pop	qword [rdi + RDI_AT]
	mov	eax, ENTERED
leave:
	add	rsp, 8
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbx
	pop	rbp
	ret

section .note.GNU-stack noalloc noexec nowrite progbits

; The shortest way from a guest's cpuid to its next instruction: the floor of `make bench`.
;
; Nothing is left out that a guest would miss: all its registers come and go, the exit is what it is taken for, and
; CPUID answers. There is no operating system around it: no interrupt, no other guest, no other exit, and the limits of
; GDTR and IDTR, which an exit leaves at ffff, are put right once at the end.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

%include "trials/floor.inc"

%define EXIT_REASON	0x4402		; enum vmcs_field
%define GUEST_RIP	0x681e
%define HOST_RSP	0x6c14
%define HOST_RIP	0x6c16
%define REASON_CPUID	10
%define CPUID_BYTES	2

default rel
section .text

; uint64_t vmx_floor(uint64_t gpr[GPR_COUNT], uint64_t rounds): rounds that are missing. A VMCS that was never launched
; is current, and its host state is there but for RSP and RIP.
;
;        | IDTR, GDTR |  [rsp + 16], 16 bytes each
;        | gpr        |  [rsp + 8]
;        | rounds     |  [rsp]
global vmx_floor:function hidden
vmx_floor:
	push	rbp
	push	rbx
	push	r12
	push	r13
	push	r14
	push	r15
	sub	rsp, 32
	sgdt	[rsp]
	sidt	[rsp + 16]
	push	rdi
	push	rsi
	mov	eax, HOST_RSP
	vmwrite	rax, rsp
	lea	rcx, [.exit]
	mov	eax, HOST_RIP
	vmwrite	rax, rcx
	mov	rax, [rdi + GPR_RAX]
	floor_load
	vmlaunch
	jmp	.over			; refused
.exit:
	floor_store 1
	mov	[rdi + GPR_RAX], rax
	mov	ecx, EXIT_REASON
	vmread	rcx, rcx
	cmp	ecx, REASON_CPUID
	jne	.over
	mov	rcx, [rdi + GPR_RCX]
	cpuid
	mov	[rdi + GPR_RAX], rax
	mov	[rdi + GPR_RBX], rbx
	mov	[rdi + GPR_RCX], rcx
	mov	[rdi + GPR_RDX], rdx
	mov	eax, GUEST_RIP
	vmread	rcx, rax
	add	rcx, CPUID_BYTES
	vmwrite	rax, rcx
	dec	qword [rsp]
	jz	.over
	mov	rax, [rdi + GPR_RAX]
	floor_load
	vmresume
.over:
	pop	rax
	pop	rdi
	lgdt	[rsp]
	lidt	[rsp + 16]
	add	rsp, 32
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbx
	pop	rbp
	ret

section .note.GNU-stack noalloc noexec nowrite progbits

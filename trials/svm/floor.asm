; The shortest way from a guest's cpuid to its next instruction: the floor of `make bench`.
;
; Nothing is left out that a guest would miss: all its registers come and go, the exit is what it is taken for, and
; CPUID answers. There is no operating system around it: no VMLOAD and VMSAVE, for FS, GS and TR stay the host's, no
; interrupt, no other guest, no other exit.

%include "trials/floor.inc"

%define EXITCODE	0x70		; struct vmcb
%define VMCB_RIP	0x578
%define VMCB_RAX	0x5f8
%define EXIT_CPUID	0x72
%define CPUID_BYTES	2

default rel
section .text

; uint64_t svm_floor(uint64_t gpr[GPR_COUNT], hpa_t vmcb, struct vmcb *b, uint64_t rounds): rounds that are missing.
;
;        | gpr             |  [rsp + 24]
;        | vmcb's address  |  [rsp + 16]
;        | vmcb            |  [rsp + 8]
;        | rounds          |  [rsp]
global svm_floor:function hidden
svm_floor:
	push	rbp
	push	rbx
	push	r12
	push	r13
	push	r14
	push	r15
	push	rdi
	push	rsi
	push	rdx
	push	rcx
.round:
	mov	rdi, [rsp + 24]
	mov	rax, [rsp + 16]
	floor_load
	vmrun
	floor_store 3
	mov	rsi, [rsp + 8]
	cmp	dword [rsi + EXITCODE], EXIT_CPUID
	jne	.over
	mov	eax, [rsi + VMCB_RAX]
	cpuid
	mov	[rsi + VMCB_RAX], rax
	mov	[rdi + GPR_RBX], rbx
	mov	[rdi + GPR_RCX], rcx
	mov	[rdi + GPR_RDX], rdx
	add	qword [rsi + VMCB_RIP], CPUID_BYTES
	dec	qword [rsp]
	jnz	.round
.over:
	stgi
	pop	rax
	add	rsp, 24
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbx
	pop	rbp
	ret

section .note.GNU-stack noalloc noexec nowrite progbits

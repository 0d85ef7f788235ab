; Into the guest by VMRUN, and back.
;
; The CPU saves and loads what the VMCB's first half of the guest's state holds, RAX and RSP among
; it. The other general registers are ours, and VMLOAD and VMSAVE move FS, GS, TR, LDTR and the MSRs
; of syscall and sysenter: the guest's until they are the host's again, so that nothing may come in
; between. GIF=0 keeps even NMIs away (APM 2 15.17).
;
; Interrupts of the host end the guest's run (the INTR intercept) only while the host's IF is 1
; (APM 2 15.21.1, V_INTR_MASKING): sti behind clgi lets none in.
;
; APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40.

default rel
section .text

%assign RCX_AT 8 * 1			; enum gpr
%assign RDX_AT 8 * 2
%assign RBX_AT 8 * 3
%assign RBP_AT 8 * 5
%assign RSI_AT 8 * 6
%assign RDI_AT 8 * 7
%define NUMBERED(n) (8 * (n))

; void svm_enter(uint64_t gpr[GPR_COUNT], hpa_t vmcb, hpa_t host_state);
;
;        | return address     |
;        | rbp rbx r12 .. r15 |
;        | rdx: host's state  |  [rsp + 8]
;        | rdi: gpr           |  <- rsp around vmrun
global svm_enter:function hidden
svm_enter:
	push	rbp
	push	rbx
	push	r12
	push	r13
	push	r14
	push	r15
	push	rdx
	push	rdi
	clgi
	sti
	mov	rax, rsi
	vmload
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
	vmrun
	cli				; IF is the host's, as VMRUN found it: rax, too
	vmsave
	push	rdi
	mov	rdi, [rsp + 8]
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
	mov	rax, [rsp + 8]
	vmload
	stgi
	add	rsp, 16
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbx
	pop	rbp
	cld
	ret

section .note.GNU-stack noalloc noexec nowrite progbits

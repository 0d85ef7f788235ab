; Into an env in ring 3, and back: the world switch of Lab 1A for 64-bit code.
;
;   software                              CPU
;   1. C calls env_enter(frame, regs)
;   2. pushes callee-saved registers,
;      keeps rsp and regs
;   3. pushes an IRET frame, loads the
;      env's registers, iretq        -->  4. runs the env in ring 3
;                                         5. trap: takes rsp from TSS.RSP0, the end of `frame`, and
;                                            pushes ss rsp rflags cs rip [error]
;   6. the stub (kern/trap.asm) pushes the vector: `frame` is full again
;   7. env_leave: stores the env's registers; back to the stack of 2, pops, ret to C
;
; Not loaded: DS ES FS GS (take_cpu() in env.c), and the FPU, which an env has not. An iretq that faults does so in
; ring 0 on the host's stack: .bad.

%include "kern/trap.inc"

default rel

; enum env_reg
ENV_RAX	equ	0
ENV_RDI	equ	8
ENV_RSI	equ	16
ENV_RDX	equ	24
ENV_RCX	equ	32
ENV_RBX	equ	40
ENV_RBP	equ	48
ENV_R8	equ	56

section .bss
run_rsp:	resq	1		; one CPU, so one of these
run_regs:	resq	1

section .text

; uint64_t env_enter(struct ring_frame *f, uint64_t regs[]);
global env_enter:function hidden
env_enter:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	mov	[run_rsp], rsp
	mov	[run_regs], rsi
%assign word RING_SS			; five words, from ss down to rip
%rep 5
	push	qword [rdi + word]
%assign word word - 8
%endrep
	mov	rax, [rsi + ENV_RAX]
	mov	rdi, [rsi + ENV_RDI]
	mov	rdx, [rsi + ENV_RDX]
	mov	rcx, [rsi + ENV_RCX]
	mov	rbx, [rsi + ENV_RBX]
	mov	rbp, [rsi + ENV_RBP]
%assign n 8
%rep 8
	mov	r%[n], [rsi + ENV_R8 + 8 * (n - 8)]
%assign n n + 1
%endrep
	mov	rsi, [rsi + ENV_RSI]	; last: it was the pointer
.iret:	iretq
.bad:	shl	rdx, 32			; trap_host() left the vector in rax, the error code in rdx
	or	rax, rdx
.out:	mov	rsp, [run_rsp]
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	ret

	EXTABLE	env_enter.iret, env_enter.bad

; The stub jumps here: rsp at the frame's vector, which has room for one push below.
global env_leave:function hidden
env_leave:
	push	rsi
	mov	rsi, [run_regs]
	mov	[rsi + ENV_RAX], rax
	mov	[rsi + ENV_RDI], rdi
	mov	[rsi + ENV_RDX], rdx
	mov	[rsi + ENV_RCX], rcx
	mov	[rsi + ENV_RBX], rbx
	mov	[rsi + ENV_RBP], rbp
%assign n 8
%rep 8
	mov	[rsi + ENV_R8 + 8 * (n - 8)], r%[n]
%assign n n + 1
%endrep
	pop	qword [rsi + ENV_RSI]
	cld
	xor	eax, eax
	jmp	env_enter.out

section .note.GNU-stack noalloc noexec nowrite progbits

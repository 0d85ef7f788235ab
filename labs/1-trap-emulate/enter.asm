; The world switch: into ring 1 and back (Lab 1A, exercise 1.1).
;
; ring_enter() is a C function that returns. What it returns from is the guest's next trap:
;
;   software                              CPU
;   1. C calls ring_enter(frame)
;   2. pushes callee-saved registers,
;      keeps rsp in run_rsp
;   3. pushes an IRET frame, loads the
;      guest's registers, iretq      -->  4. runs the guest in ring 1
;                                         5. trap: takes rsp from TSS.RSP0, which is the end of
;                                            `frame`, and pushes ss rsp rflags cs rip [error]
;   6. the stub (kern/trap.asm) pushes vector and registers: `frame` is full again
;   7. ring_leave: back to the stack of 2, pops, ret to C
;
; The stack at the iretq (SDM 3A 6.14.3 "IRET in IA-32e Mode"):       struct trap_frame, at rdi:
;
;          | return address to C        |                                   frame + 176  <- RSP0
;          | rbx rbp r12 r13 r14 r15    | <- run_rsp                        ss
;          | ss                         |                                   rsp
;          | rsp                        |                                   rflags
;          | rflags                     |                                   cs
;          | cs                         |                                   rip
;   rsp -> | rip                        |                                   error, vector, rax ... r15
;
; Not saved and not loaded: r8 to r15, which 32-bit code cannot name; DS ES FS GS (load.asm); the FPU, which
; belongs to the thread (kern/thread.c). An iretq that faults, does so in ring 0 on the host's stack, and the
; exception table brings us to .bad.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

%include "kern/trap.inc"
%include "inc/exercise.inc"

default rel

section .bss
run_rsp:	resq	1		; one CPU, so one of these

section .text

; uint64_t ring_enter(struct trap_frame *f);
global ring_enter:function hidden
ring_enter:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	mov	[run_rsp], rsp
	; EXERCISE 1.1a: Push the five words that iretq pops (SDM 3A 6.14.3), taking them from the frame at rdi
	; by their offsets FRAME_SS, FRAME_RSP, FRAME_RFLAGS, FRAME_CS, FRAME_RIP (kern/map.inc); then load the
	; guest's rax rbx rcx rdx rsi rdi rbp from it. Which of them must come last? The iretq is below.
	EXERCISE_TODO 1, 1, "handouts/lab1a.md#ex-1-1"
	mov rax, -1
	jmp ring_enter.out
	; END EXERCISE 1.1a
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

	EXTABLE	ring_enter.iret, ring_enter.bad

; EXERCISE 1.0: free region for helpers of your own.
; END EXERCISE 1.0

; The stub jumps here after a trap from an outer ring, with rsp = start of the filled frame.
global ring_leave:function hidden
ring_leave:
	xor	eax, eax
	jmp	ring_enter.out

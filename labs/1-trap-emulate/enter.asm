; The world switch: into ring 1 and back (Lab 1A, exercise 1.1).
;
; ring_enter() is a C function that returns. What it returns from is the guest's next trap:
;
;   software                              CPU
;   1. C calls ring_enter(frame, gpr)
;   2. pushes callee-saved registers,
;      keeps rsp and gpr
;   3. pushes an IRET frame, loads the
;      guest's registers, iretq      -->  4. runs the guest in ring 1
;                                         5. trap: takes rsp from TSS.RSP0, which is the end of
;                                            `frame`, and pushes ss rsp rflags cs rip [error]
;   6. the stub (kern/trap.asm) pushes the vector: `frame` is full again
;   7. ring_leave: stores the guest's registers to gpr; back to the stack of 2, pops, ret to C
;
; The stack at the iretq (SDM 3A 6.14.3 "IRET in IA-32e Mode"):       struct ring_frame, at rdi:
;
;          | return address to C        |                                   frame + 64  <- RSP0
;          | rbx rbp r12 r13 r14 r15    | <- run_rsp                        ss
;          | ss                         |                                   rsp
;          | rsp                        |                                   rflags
;          | rflags                     |                                   cs
;          | cs                         |                                   rip
;   rsp -> | rip                        |                                   error, vector, scratch
;
; gpr is gpr[] of the guest's struct cpu_state: its registers go straight into the one truth and come from
; there. They have 32 bits, and so have the loads and stores: the upper half of each stays 0.
;
; Not saved and not loaded: r8 to r15, which 32-bit code cannot name; DS ES FS GS (load.asm); the FPU, which
; belongs to the thread (kern/sched/thread.c). An iretq that faults, does so in ring 0 on the host's stack, and the
; exception table brings us to .bad.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

%include "kern/trap.inc"
%include "inc/exercise.inc"
%include "vmm/x86/state.inc"

default rel

section .bss
run_rsp:	resq	1		; one CPU, so one of these
run_gpr:	resq	1

section .text

; uint64_t ring_enter(struct ring_frame *f, uint64_t gpr[]);
global ring_enter:function hidden
ring_enter:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	mov	[run_rsp], rsp
	mov	[run_gpr], rsi
	; EXERCISE 1.1a: Push the five words that iretq pops (SDM 3A 6.14.3), taking them from the frame at rdi
	; by their offsets RING_SS, RING_RSP, RING_RFLAGS, RING_CS, RING_RIP (kern/map.inc); then load the guest's
	; eax ebx ecx edx esi edi ebp from gpr[] at rsi by the offsets GPR_RAX ... (vmm/x86/state.inc). Which of
	; them must come last? The iretq is below.
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

; The stub jumps here after a trap from an outer ring: rsp at the frame's vector, which has room for one push
; below. Where VM is set the CPU was in no mode of the guest's (handouts/emulators.md#iret-vm), and nothing is
; made of its registers.
global ring_leave:function hidden
ring_leave:
	test	byte [rsp + RING_RFLAGS - RING_VECTOR + 2], FLAG_VM >> 16
	jnz	.back
	push	rdi
	mov	rdi, [run_gpr]
	mov	[rdi + GPR_RAX], eax
	mov	[rdi + GPR_RBX], ebx
	mov	[rdi + GPR_RCX], ecx
	mov	[rdi + GPR_RDX], edx
	mov	[rdi + GPR_RSI], esi
	mov	[rdi + GPR_RBP], ebp
	pop	rax
	mov	[rdi + GPR_RDI], eax
.back:	cld
	xor	eax, eax
	jmp	ring_enter.out

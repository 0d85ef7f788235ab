; Into a PV guest in ring 3, and back by one of two ways: a trap, and `syscall`.
;
;   software                              CPU
;   1. C calls pv_enter(frame, gpr)
;   2. pushes callee-saved registers,
;      keeps rsp and gpr
;   3. pushes an IRET frame, loads the
;      guest's registers, iretq      -->  4. runs the guest in ring 3
;                                         5a. trap: rsp = TSS.RSP0, the end of `frame`; pushes ss rsp
;                                             rflags cs rip [error]; the stub pushes the vector
;                                         5b. syscall: rcx = rip, r11 = rflags, and masks rflags; rsp is
;   6. pv_syscall: rsp = TSS.RSP0, and        still the guest's: nothing may be pushed
;      pushes what a trap would have pushed
;   7. pv_leave: stores the guest's registers to gpr; back to the stack of 2, pops, ret to C
;
; `frame` behind 5a and 6 alike (kern/trap.h):
;
;   RSP0 -> |                            |
;           | ss                         |   5b: the guest's data segment, of which there is one
;           | rsp                        |
;           | rflags                     |   5b: r11
;           | cs                         |   5b: the guest's code segment of 64 bits, or 32
;           | rip                        |   5b: rcx
;           | error code                 |   5b: 0
;   rsp  -> | vector                     |   5b: PV_SYSCALL or PV_SYSCALL32, none of the CPU's
;           | room for one push          |
;
; Between the syscall and its new rsp the host is in ring 0 with the guest's rsp. SFMASK has cleared IF and TF;
; an NMI, a #MC, and a #DB that `mov ss` has put off (SDM 3A 6.8.3) have stacks of their own (kern/trap.asm).
;
; An iretq to a rip that is not canonical faults in ring 0 on the host's stack: .bad. sysret would do so on the
; guest's.

%include "kern/trap.inc"

default rel

PV_SYSCALL	equ	256
PV_SYSCALL32	equ	257
PV_CS		equ	0xe033		; XEN_FLAT_CS64
PV_CS32		equ	0xe023		; as Xen, whatever segment it was
PV_SS		equ	0xe02b

; gpr[] by enum gpr (vmm/x86/state.h), which is the CPU's own order
%define GPR(n)	8 * (n)

section .bss
run_rsp:	resq	1		; one CPU, so one of these
run_gpr:	resq	1
guest_rsp:	resq	1

section .text
extern tss_rsp0, pv_answer

; uint64_t pv_enter(struct ring_frame *f, uint64_t gpr[]);
global pv_enter:function hidden
pv_enter:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	mov	[run_rsp], rsp
	mov	[run_gpr], rsi
%assign word RING_SS			; five words, from ss down to rip
%rep 5
	push	qword [rdi + word]
%assign word word - 8
%endrep
	mov	rax, [rsi + GPR(0)]
	mov	rcx, [rsi + GPR(1)]
	mov	rdx, [rsi + GPR(2)]
	mov	rbx, [rsi + GPR(3)]
	mov	rbp, [rsi + GPR(5)]
	mov	rdi, [rsi + GPR(7)]
%assign n 8
%rep 8
	mov	r%[n], [rsi + GPR(n)]
%assign n n + 1
%endrep
	mov	rsi, [rsi + GPR(6)]	; last: it was the pointer
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

	EXTABLE	pv_enter.iret, pv_enter.bad

%macro SYSCALL 2			; the code segment that it is said to have come from, the vector
	mov	[guest_rsp], rsp
	mov	rsp, [tss_rsp0]
	push	PV_SS
	push	qword [guest_rsp]
	push	r11
	push	%1
	push	rcx
	push	0
	push	%2
%endmacro

; CSTAR leads here.
global pv_syscall32:function hidden
pv_syscall32:
	SYSCALL	PV_CS32, PV_SYSCALL32
	jmp	pv_leave

; LSTAR leads here: to an exit (vector and registers as for a trap), or back, where pv_answer() has done all.
; What it is given on the host's stack is the beginning of a struct pv_call:
;
;   rsp -> | rax rdi rsi rdx r10 r8 r9 | verdict, flags | - |
;
; Behind it rcx and r11 are what syscall has made of them. sysret loads rip and flags from there: pv_answer() has
; seen that both are such as a guest may have. Nothing but an NMI, #MC and #DB comes between the guest's rsp and that.
global pv_syscall:function hidden
pv_syscall:
	SYSCALL	PV_CS, PV_SYSCALL
	mov	rsp, [run_rsp]
	sub	rsp, 16
	push	r9
	push	r8
	push	r10
	push	rdx
	push	rsi
	push	rdi
	push	rax
	mov	rdi, rsp
	call	pv_answer
	test	al, al
	pop	rax
	pop	rdi
	pop	rsi
	pop	rdx
	pop	r10
	pop	r8
	pop	r9
	mov	rsp, [tss_rsp0]
	mov	rcx, [rsp + RING_RIP - RING_SIZE]
	mov	r11, [rsp + RING_RFLAGS - RING_SIZE]
	jz	.exit
	mov	rsp, [rsp + RING_RSP - RING_SIZE]
	o64 sysret
.exit:	lea	rsp, [rsp + RING_VECTOR - RING_SIZE]

; The stubs jump here: rsp at the frame's vector, which has room for one push below.
global pv_leave:function hidden
pv_leave:
	push	rsi
	mov	rsi, [run_gpr]
	mov	[rsi + GPR(0)], rax
	mov	[rsi + GPR(1)], rcx
	mov	[rsi + GPR(2)], rdx
	mov	[rsi + GPR(3)], rbx
	mov	[rsi + GPR(5)], rbp
	mov	[rsi + GPR(7)], rdi
%assign n 8
%rep 8
	mov	[rsi + GPR(n)], r%[n]
%assign n n + 1
%endrep
	pop	qword [rsi + GPR(6)]
	cld
	xor	eax, eax
	jmp	pv_enter.out

section .note.GNU-stack noalloc noexec nowrite progbits

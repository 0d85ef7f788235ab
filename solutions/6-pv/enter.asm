; Into a PV guest in ring 3, and back by one of two ways, a trap and `syscall`: exercise 6.1.
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
;   7. pv_leave: back to the stack of 2; stores the guest's registers to gpr, pops, ret to C
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

; gpr[] is that of the guest's struct cpu_state (vmm/x86/state.inc; r8 at 64, and so on).

%include "kern/trap.inc"
%include "inc/exercise.inc"
%include "vmm/x86/state.inc"

default rel

PV_SYSCALL	equ	256
PV_SYSCALL32	equ	257
PV_CS		equ	0xe033		; XEN_FLAT_CS64
PV_CS32		equ	0xe023		; as Xen, whatever segment it was
PV_SS		equ	0xe02b

; EXERCISE 6.0: room for helpers of your own. Nothing has to stand here.
; END EXERCISE 6.0

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
	; EXERCISE 6.1a: in
	; Holds: at the iretq the stack has what it pops, and all of the guest's registers are the guest's.
	; Beware: one of them is needed up to the last moment, and one is not loaded here.
	; Manual: SDM 2A "IRET/IRETD/IRETQ"; SDM 3A "IRET in IA-32e Mode".
	; Tools: GPR_RAX, GPR_RBP, GPR_RBX, GPR_RCX, GPR_RDI, GPR_RDX, GPR_RSI of vmm/x86/state.inc, RING_CS,
	;  RING_RFLAGS, RING_RIP, RING_RSP, RING_SS, RING_VECTOR of kern/map.inc
	; Hint: how many words does iretq pop in 64-bit mode, and which lies deepest?
	; Hint: whoever packs a suitcase by a list that lies in the suitcase packs the list last.
	; Hint: the way into a VT-x guest has no words to push: the VMCS has its rip, rsp and flags. There one loads
	;  rax to r15 by rdi, which points to gpr[], and rdi from itself just before vmresume.
	; until then: mov eax, 13
	; until then: xor edx, edx
	; until then: jmp pv_enter.bad
	push	qword [rdi + RING_SS]
	push	qword [rdi + RING_RSP]
	push	qword [rdi + RING_RFLAGS]
	push	qword [rdi + RING_CS]
	push	qword [rdi + RING_RIP]
	mov	rax, [rsi + GPR_RAX]
	mov	rcx, [rsi + GPR_RCX]
	mov	rdx, [rsi + GPR_RDX]
	mov	rbx, [rsi + GPR_RBX]
	mov	rbp, [rsi + GPR_RBP]
	mov	rdi, [rsi + GPR_RDI]
%assign n 8
%rep 8
	mov	r%[n], [rsi + 8 * n]
%assign n n + 1
%endrep
	mov	rsi, [rsi + GPR_RSI]	; last: it was the pointer
	; END EXERCISE 6.1a
.iret:	iretq
.bad:	shl	rdx, 32			; trap_host() left the vector in rax, the error code in rdx
	or	rax, rdx
.out:	mov	rsp, [run_rsp]
.back:	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	ret

	EXTABLE	pv_enter.iret, pv_enter.bad

; The code segment that it is said to have come from, the vector. There are two of these: labels begin by %%.
%macro SYSCALL 2
	; EXERCISE 6.1b: by syscall
	; Holds: rsp is where a stub's is behind a trap, and below it lies what a trap would have left: who reads the
	;  frame sees no other difference than the vector.
	; Beware: the stack is still the guest's, and may be no memory, or Zeno's own. All registers but two are what
	;  the guest wants back.
	; Manual: SDM 2B "SYSCALL"; SDM 3A "Fast System Calls in 64-Bit Mode", "64-Bit Mode Stack Frame".
	; Tools: guest_rsp, %1, %2, PV_SS, run_rsp, tss_rsp0
	; Hint: what has the CPU written to memory so far, and to which of its registers?
	; Hint: a visitor comes in by a side door where nobody takes coats. He hangs his up himself, on the same hooks,
	;  in the same order as the porter would; but first he must be in the right house.
	; Hint: sysenter leaves even less: the CPU loads rsp from an MSR, so the stack is right at once, and the guest's
	;  rip and rsp are lost unless the guest has put them into registers by agreement (edx, ecx).
	; until then: mov rax, -1
	; until then: jmp pv_enter.out
	mov	[guest_rsp], rsp
	mov	rsp, [tss_rsp0]
	push	PV_SS
	push	qword [guest_rsp]
	push	r11
	push	%1
	push	rcx
	push	0
	push	%2
	; END EXERCISE 6.1b
%endmacro

; CSTAR and LSTAR lead here. Many calls of LSTAR's need no exit, nor does a #PF that is the kernel's; with paranoid=1
; each has one.
global pv_syscall32:function hidden
pv_syscall32:
	SYSCALL	PV_CS32, PV_SYSCALL32
	jmp	pv_leave
global pv_syscall:function hidden
pv_syscall:
	SYSCALL	PV_CS, PV_SYSCALL
	%include "vmm/pv/spot.inc"

; All else comes here, a trap as its stub has left it: rsp at the frame's vector, which has room for one push below.
global pv_leave:function hidden
pv_leave:
	push	rsi
	mov	rsi, [run_gpr]
	pop	qword [rsi + GPR_RSI]
	mov	rsp, [run_rsp]
	; EXERCISE 6.1c: back
	; Holds: gpr[] has the fourteen others as the guest left them, and C finds what a function of C may count on.
	; Beware: behind a trap the flags are the guest's, too.
	; Manual: System V ABI AMD64 "Registers and the Stack Frame"; SDM 3A "Flag Usage When Transferring to
	;  Exception- or Interrupt-Handler Procedure".
	; Tools: GPR_RAX, GPR_RBP, GPR_RBX, GPR_RCX, GPR_RDI, GPR_RDX of vmm/x86/state.inc, run_gpr
	; Hint: which of the guest's flags does neither a gate nor SFMASK need to clear, and who would trip over it?
	; Hint: a borrowed car is given back: not only the seat is to be where it was, but also the gear lever.
	; Hint: behind an exit from VT-x the CPU has cleared all flags but one by itself; there nothing of that kind is
	;  left to do, and gpr[] is stored by a pointer that was pushed before the entry.
	mov	[rsi + GPR_RAX], rax
	mov	[rsi + GPR_RCX], rcx
	mov	[rsi + GPR_RDX], rdx
	mov	[rsi + GPR_RBX], rbx
	mov	[rsi + GPR_RBP], rbp
	mov	[rsi + GPR_RDI], rdi
%assign n 8
%rep 8
	mov	[rsi + 8 * n], r%[n]
%assign n n + 1
%endrep
	cld
	; END EXERCISE 6.1c
	xor	eax, eax
	jmp	pv_enter.back

section .note.GNU-stack noalloc noexec nowrite progbits

; Every trap enters here: 256 stubs, and what they leave is alike (kern/trap.h).
;
;   CPU                                             software
;   1. from ring 1-3: rsp = TSS.RSP0;
;      NMI, #DB, #DF, #MC: rsp = TSS.ISTn, from
;      any ring; aligns rsp down to 16
;   2. pushes ss rsp rflags cs rip, and for ten
;      vectors an error code; clears IF TF NT RF
;      VM (interrupt gate, SDM 3A 6.14, 6.12.1.3) -->
;                                                    3. stub: pushes a zero where the CPU pushed no
;                                                       error code, then the vector
;                                                    4. trap_common, by VM and CS.RPL of the frame:
;                                                       0     pushes 15 registers; cld;
;                                                             trap_host(frame), iretq
;                                                       1-3   jmp [ring_exit], rsp at the vector,
;                                                             registers and DF still the outer ring's
;
;        | ss                 |   <- RSP0, or an IST; for ring 0 the old rsp, aligned down
;        | rsp                |
;        | rflags             |
;        | cs                 |
;        | rip                |
;        | error code or 0    |
;        | vector             |   <- 1-3: rsp; the start of struct ring_frame is 8 below
;        | rax rcx rdx rbx rbp|
;        | rsi rdi r8 ... r15 |   <- 0: rsp = start of struct trap_frame, 16-byte aligned
;
; Not saved: DS and ES, whose contents 64-bit code ignores, FS and GS, which the host never uses
; (DESIGN), and the FPU, which belongs to the thread. AC stays as the guest had it: alignment is
; checked at CPL 3 only (SDM 3A 6.15, "#AC"), and CR4.SMAP is 0. DF must be 0 for C.
;
; SDM = Intel SDM order no. 325462-080, June 2023.

%include "kern/trap.inc"

default rel
extern trap_host, ring_exit, tss_rsp0

; TRAP vector, common: the stub, and its slot in trap_stubs[].
%macro TRAP 2
[section .text]
trap_%1:
; #DF #TS #NP #SS #GP #PF #AC #CP push an error code (SDM 3A table 6-1), and AMD's #VC #SX (APM 2
; table 8-1).
%if !(%1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17 || %1 == 21 || %1 == 29 || %1 == 30)
	push	0
%endif
	push	%1
	jmp	%2
[section .rodata.trap_stubs]
	dq	trap_%1
%endmacro

section .text align=16
global trap_text_start:hidden, trap_text_end:hidden
trap_text_start:

section .rodata.trap_stubs progbits alloc noexec nowrite align=16
global trap_stubs:data hidden
trap_stubs:

%assign vector 0
%rep 256
%if vector == 1 || vector == 2 || vector == 8 || vector == 18
	TRAP	vector, trap_on_ist
%else
	TRAP	vector, trap_common
%endif
%assign vector vector + 1
%endrep

section .text

; Whose frame it is, where vector and error code are pushed. CS alone does not tell: where VM is set it is
; no selector, and its low bits are any. Long mode has no virtual-8086 mode, but QEMU's iret goes there
; (handouts/emulators.md).
%define AT(field) rsp + field - RING_VECTOR
%macro IF_FROM_RING 1
	test	byte [AT(RING_CS)], 3
	jnz	%1
	test	byte [AT(RING_RFLAGS) + 2], FLAG_VM >> 16
	jnz	%1
%endmacro

trap_common:
	IF_FROM_RING .ring
	jmp	from_host
.ring:	jmp	[ring_exit]

from_host:
	PUSH_REGISTERS
	mov	rdi, rsp
	call	trap_host			; may have changed the frame: exception table
	POP_REGISTERS
	add	rsp, 16				; vector, error code
	iretq

; NMI, #DB, #DF, #MC: the frame is on a stack of the vector's own. If it came from an outer ring it
; moves to where all others are: ring_exit finds it there, and the IST stack is free for the next.
;
;        IST stack                                  struct ring_frame of what runs
;        | ss ... vector |   <- rsp    -- copy -->  | ss ... vector |   <- new rsp
trap_on_ist:
	IF_FROM_RING .ring
	jmp	from_host
.ring:	push	rcx				; a ring_frame has room for this one
	lea	rcx, [rsp + 8 + RING_SIZE - RING_VECTOR]
	cmp	rcx, [tss_rsp0]
	je	.there				; #DB without its IST (trap_debug_stack): no copy, no push more
	push	rsi
	push	rdi
	lea	rsi, [rsp + 3 * 8]
	mov	rdi, [tss_rsp0]
	sub	rdi, RING_SIZE - RING_VECTOR
	mov	ecx, (RING_SIZE - RING_VECTOR) / 8
	cld
	rep movsq
	pop	rdi
	pop	rsi
.there:	pop	rcx
	mov	rsp, [tss_rsp0]
	sub	rsp, RING_SIZE - RING_VECTOR
	jmp	[ring_exit]

global nobody_exits:function hidden
extern trap_nobody
; ring_exit's first value: no code that runs outer rings has set it.
nobody_exits:
	PUSH_REGISTERS
	mov	rdi, rsp
	call	trap_nobody
	ud2

trap_text_end:

section .note.GNU-stack noalloc noexec nowrite progbits

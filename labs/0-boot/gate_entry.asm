; Lab 0B, exercise 0.5: given. Where the gate leads, and what the command `int3` fires at.
;
; SDM = Intel SDM order no. 325462-080, June 2023.

%include "kern/trap.inc"

default rel
extern gate_hit

section .text
; The CPU comes here from the int3. What it has pushed by then is the exercise's to know.
global gate_entry:function hidden
gate_entry:
	PUSH_REGISTERS
	mov	rdi, rsp
	call	gate_hit
	POP_REGISTERS
	iretq

; void gate_shot(uint64_t address): calls what is there. Whoever looks from outside may change any
; register but rsp there: all that C wants back is on the stack.
global gate_shot:function hidden
gate_shot:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	sub	rsp, 8
	call	rdi
	add	rsp, 8
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	ret

; GATE_TARGETS (gate.c) times an int3 and a way back.
global gate_targets:function hidden
gate_targets:
	times 128 db 0xcc, 0xc3

section .note.GNU-stack noalloc noexec nowrite progbits

; A way to come back from what an instruction raises.

default rel

section .data
global try_rsp
try_rsp:	dq	0

section .text
; uint64_t try(fn, argument): 0, or 1: an exception has ended it, and its handler has gone to try_back with this rsp.
global try, try_back
try:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	mov	[try_rsp], rsp
	mov	rax, rdi
	mov	rdi, rsi
	call	rax
	xor	eax, eax
	jmp	try_back.out
try_back:
	mov	eax, 1
.out:	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	ret

; To there, with that rsp.
global pv_return
pv_return:
	mov	rsp, rsi
	jmp	rdi

section .note.GNU-stack noalloc noexec nowrite progbits

; Ways out of a PV kernel that lead anywhere, and where they land.

default rel

section .text
; void do_iret(const uint64_t *words): HYPERVISOR_iret with nine of them
global do_iret
do_iret:
	mov	rsp, rdi
	mov	eax, 23
	syscall
	ud2

; void do_iretq(const uint64_t *words): the CPU's own, with the last five of nine
global do_iretq
do_iretq:
	lea	rsp, [rdi + 32]
	iretq

; void do_selectors(uint64_t selectors): of ds, es, fs, gs, 16 bits each
global do_selectors
do_selectors:
	mov	ds, edi
	shr	rdi, 16
	mov	es, edi
	shr	rdi, 16
	mov	fs, edi
	shr	rdi, 16
	mov	gs, edi
	ret

; Whatever comes here goes no further: it is an exception, in 16 bits, in 32 and in 64.
global landing
landing:
	times	16 nop
	ud2

section .note.GNU-stack noalloc noexec nowrite progbits

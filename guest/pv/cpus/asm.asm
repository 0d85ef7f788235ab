; Where another vCPU than the first one begins: on the stack and with the registers that its context said.

default rel

section .bss
align 16
global found, found_xmm, found_cr4, found_cs
found:	resq	16
found_xmm:	resq	2
found_cr4:	resq	1
found_cs:	resw	1

section .text
extern second_main, storm_main
global second_entry, storm_entry
second_entry:
	mov	[found], rax
	mov	[found + 8], rcx
	mov	[found + 16], rdx
	mov	[found + 24], rbx
	mov	[found + 32], rsp
	mov	[found + 40], rbp
	mov	[found + 48], rsi
	mov	[found + 56], rdi
%assign n 8
%rep 8
	mov	[found + 8 * n], r%[n]
%assign n n + 1
%endrep
	movups	[found_xmm], xmm0
	mov	rax, cr4		; which the monitor has to do, by code of a segment of the guest's own
	mov	[found_cr4], rax
	mov	[found_cs], cs
	cld
	call	second_main
	ud2

storm_entry:
	and	rsp, -16
	cld
	call	storm_main
	ud2

section .note.GNU-stack noalloc noexec nowrite progbits

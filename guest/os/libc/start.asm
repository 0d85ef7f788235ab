; A program's start, its way into the kernel, and the time-stamp counter.

section .text
extern main
extern exit

; exec (exec.c) leaves:  esp -> | argc | argv |
global _start
_start:
	call	main
	push	eax
	call	exit

; int syscall(int number, uint32_t a, uint32_t b, uint32_t c)
global syscall
syscall:
	push	ebx
	mov	eax, [esp + 8]
	mov	ebx, [esp + 12]
	mov	ecx, [esp + 16]
	mov	edx, [esp + 20]
	int	0x80
	pop	ebx
	ret

; uint32_t tsc(void): the low half
global tsc
tsc:	rdtsc
	ret

; The kernel says P, clears CR0.PE, and would say R in real mode.

bits 32
section .multiboot progbits alloc noexec nowrite align=4
	dd	0x1badb002, 0, -0x1badb002

section .text
global _start
_start:	mov	dx, 0x3f8
	mov	al, 'P'
	out	dx, al
	mov	al, 10
	out	dx, al
	mov	eax, cr0
	and	eax, ~1
	mov	cr0, eax
	mov	al, 'R'
	out	dx, al
	mov	al, 10
	out	dx, al
	mov	al, 0
	out	0xf4, al
	hlt

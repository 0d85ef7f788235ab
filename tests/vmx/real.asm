; The kernel says P, clears CR0.PE, and would say R in real mode.

%include "multiboot.inc"

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

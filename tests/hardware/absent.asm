; An instruction that Zeno does not emulate, on memory that is not there.

%include "multiboot.inc"

section .text
global _start
_start:	mov	eax, cr4
	or	eax, 0x200		; OSFXSR
	mov	cr4, eax
	movaps	xmm0, [0xd0000000]
	mov	al, 0
	out	0xf4, al
	hlt

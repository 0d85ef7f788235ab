; An instruction that Zeno does not emulate, on memory that is not there.

bits 32
section .multiboot progbits alloc noexec nowrite align=4
	dd	0x1badb002, 0, -0x1badb002

section .text
global _start
_start:	mov	eax, cr4
	or	eax, 0x200		; OSFXSR
	mov	cr4, eax
	movaps	xmm0, [0xd0000000]
	mov	al, 0
	out	0xf4, al
	hlt

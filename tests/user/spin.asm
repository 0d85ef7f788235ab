; A guest that asks its UART for ever.

%include "multiboot.inc"

section .text
global _start
_start:	mov	edx, 0x3fd
.ask:	in	al, dx
	jmp	.ask

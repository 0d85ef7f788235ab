; A guest that asks its device model once, and then sleeps: what the model does of its own accord comes meanwhile.

%include "multiboot.inc"

section .text
global _start
_start:	mov	esp, stack
	mov	edx, 0x3fd
	in	al, dx
	sti
.sleep:	hlt
	jmp	.sleep

section .bss
	resb	64
stack:

; A guest of another engine: are there descriptors beyond its own table? Each load must fault, and it has no handler.
%include "multiboot.inc"

section .text
global _start
_start:	mov	eax, 0x5008
	mov	fs, ax
	mov	al, 7
	out	0xf4, al
	hlt

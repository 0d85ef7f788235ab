; It says one prompt twice in one breath, before it looks for a key; then it says the key, and ends.
%include "multiboot.inc"

section .text
global _start
_start:	mov	esi, text
	mov	ecx, text_end - text
	mov	dx, 0x3f8
	rep outsb
.ask:	mov	dx, 0x3fd		; bit 0: a key
	in	al, dx
	test	al, 1
	jz	.ask
	mov	dx, 0x3f8
	in	al, dx
	out	dx, al
	mov	al, 10
	out	dx, al
	mov	al, 5
	out	0xf4, al
	hlt

section .rodata
text:	db	"p> p> and more", 10
text_end:

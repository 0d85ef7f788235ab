; TSC_AUX, which rdtscp shows: `s` writes it first. Then what rdtscp has, a digit at a time, over an exit and a turn of
; others'.

%include "multiboot.inc"

section .text
global _start
_start:
	mov	esp, 0x2ff000
	last_letter
	cmp	bl, 's'
	jne	.show
	mov	ecx, 0xc0000103
	mov	eax, 0x5ec4e7aa
	xor	edx, edx
	wrmsr
.show:	pause
	rdtscp
	mov	ebx, ecx
	mov	ecx, 8
.digit:	rol	ebx, 4
	mov	al, bl
	and	al, 15
	add	al, 'a'
	mov	dx, 0x3f8
	out	dx, al
	loop	.digit
	mov	al, 10
	out	dx, al
	mov	al, 0
	out	0xf4, al
	hlt

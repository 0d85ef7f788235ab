; Every byte value on both channels, then an unfinished line.
%include "common.inc"
main:
	xor ecx, ecx
.next:
	mov al, cl
	call putc
	out SIDE, al
	inc cl
	jnz .next
	mov esi, words
	call side_puts
	mov al, 0
	jmp power_off

section .data
words:	db 10, "@Z", 10, "@Z ", 10, "@Z log ", 0xff, 0xfe, 10, "@Z log unfinished", 0

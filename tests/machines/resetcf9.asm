; A reset through the chipset's reset control register.
%include "common.inc"
main:
	mov esi, words
	call puts
	call sent
	mov dx, RESET_CONTROL
	mov al, 2
	out dx, al
	mov al, 6
	out dx, al
.wait:
	jmp .wait

section .data
words:	db "once", 10, 0

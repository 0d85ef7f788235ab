; A reset through the keyboard controller.
%include "common.inc"
main:
	mov esi, words
	call puts
	call sent
	mov al, 0xfe
	out KBD_COMMAND, al
.wait:
	jmp .wait

section .data
words:	db "once", 10, 0

; Prints on both channels and switches off in order.
%include "common.inc"
main:
	mov esi, greeting
	call puts
	mov esi, tagged
	call side_puts
	mov al, 0
	jmp power_off

section .data
greeting:	db "hello from the machine", 10, 0
tagged:		db "@Z log hello", 10, "@Z end d1 off done", 10, 0

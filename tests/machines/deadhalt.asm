; Sleeps for ever: HLT with interrupts off.
%include "common.inc"
main:
	mov esi, words
	call puts
global last_halt
last_halt:
	hlt
	jmp last_halt

section .data
words:	db "good night", 10, 0

; An invalid opcode while the IDT is empty.
%include "common.inc"
main:
	lidt [empty]
global bad_instruction
bad_instruction:
	ud2

section .data
empty:	dw 0
	dd 0

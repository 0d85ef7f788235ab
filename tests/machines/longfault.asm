; An invalid opcode in 64-bit code, with an IDT that has two gates only.
%include "common.inc"
main:
	jmp enter_long_mode
%include "long.inc"
long_mode:
	lidt [short_idt]
global bad_far_instruction
bad_far_instruction:
	ud2

section .data
short_idt:
	dw 2 * 16 - 1
	dq 0

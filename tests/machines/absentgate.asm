; A gate that is not present, and none for #NP and #DF either.
%include "common.inc"
%include "idt.inc"
PRESENT	equ 0x80
main:
	call idt_on
	and byte [idt + 8 * 3 + 5], ~PRESENT
	and byte [idt + 8 * 11 + 5], ~PRESENT
	and byte [idt + 8 * 8 + 5], ~PRESENT
global bad_breakpoint
bad_breakpoint:
	int3

handler:
	hlt

; Switches off early, with a code.
%include "common.inc"
main:
	mov al, 3
	jmp power_off

; Executes a known number of instructions at `body`, then switches off.
%include "common.inc"
ROUNDS	equ 1000
main:
	mov ecx, ROUNDS
global body
body:
	nop
	dec ecx
	jnz body
global after
after:
	mov al, 0
	jmp power_off

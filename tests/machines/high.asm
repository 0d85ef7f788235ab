; Enters long mode and a high half, runs a known number of instructions there and below.
%include "common.inc"
ROUNDS	equ 500
main:
	jmp enter_long_mode
%include "long.inc"
long_mode:
	mov rax, HIGH			; ELF32 has no 64-bit relocation: add the two
	mov ecx, upstairs
	add rax, rcx
	jmp rax
upstairs:
	mov ecx, ROUNDS
.again:
	dec ecx
	jnz .again
	mov eax, downstairs
	jmp rax
global downstairs
downstairs:
	mov ecx, ROUNDS
.again:
	nop
	dec ecx
	jnz .again
	mov dx, DEBUG_EXIT
	xor eax, eax
	out dx, eax
	hlt

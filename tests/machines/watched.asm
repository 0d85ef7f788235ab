; Writes, reads and adds to one cell, in this order; two other accesses lie beside it.
%include "common.inc"
main:
	mov dword [cell - 4], 1
	mov eax, [cell + 4]
global written
	mov dword [cell], 0x1234
written:
	mov ebx, [cell]
global was_read
was_read:
	inc dword [cell]
global changed
changed:
	xor eax, eax
	jmp power_off

section .data
align 64
	dd 0
global cell
cell:	dd 0
	dd 0

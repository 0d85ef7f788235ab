; A divide error before anyone has run lidt.
%include "common.inc"
main:
	xor ecx, ecx
	xor edx, edx
	mov eax, 1
global bad_divide
bad_divide:
	div ecx

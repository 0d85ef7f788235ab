; A loop without an end, of instructions that are easy to count.
%include "common.inc"
main:
	mov esi, words
	call puts
	xor eax, eax
global spin
spin:
	inc eax
	add ebx, eax
	jmp spin

section .data
words:	db "round and round", 10, 0

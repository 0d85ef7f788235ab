; Registers in memory that a device model has, in all widths; what no device has; RAM beside it. Prints by COM1: a
; letter for each check that held, in a row, or `!`.

%include "multiboot.inc"

%define COUNTER 0xfed00000
%define WORDS	0x80862001
%define FEMTO	10000000

%macro MUST 3			; register or memory is this, and the letter
	cmp	%1, %2
	mov	al, %3
	je	%%ok
	mov	al, '!'
%%ok:	call	say
%endmacro

section .text
global _start
_start:	mov	esp, stack
	mov	ebx, COUNTER
	mov	ecx, [ebx]
	MUST	ecx, WORDS, 'a'
	mov	ecx, [ebx + 4]
	MUST	ecx, FEMTO, 'b'
	mov	cx, [ebx + 2]
	MUST	cx, WORDS >> 16, 'c'
	mov	cl, [ebx + 1]
	MUST	cl, (WORDS >> 8) & 0xff, 'd'
	mov	ecx, [ebx + 1]		; not aligned: in parts
	MUST	ecx, ((FEMTO & 0xff) << 24) | (WORDS >> 8), 'e'
	xor	eax, eax		; eight bytes: in halves; what is there is not 0, so it is read
	xor	edx, edx
	mov	ecx, 0
	cmpxchg8b [ebx]
	mov	ecx, eax
	mov	esi, edx
	MUST	ecx, WORDS, 'f'
	MUST	esi, FEMTO, 'g'
	mov	dword [ebx], 0		; read-only
	mov	ecx, [ebx]
	MUST	ecx, WORDS, 'h'
	or	dword [ebx], 0xffff	; read and written
	mov	ecx, [ebx]
	MUST	ecx, WORDS, 'i'
	mov	ecx, [ebx + 0xf0]	; it counts
.more:	cmp	ecx, [ebx + 0xf0]
	je	.more
	mov	ecx, [0xd0000000]	; nobody's
	mov	dword [0xd0000000], 1
	MUST	ecx, 0xffffffff, 'j'
	mov	esi, COUNTER		; a string of them
	mov	edi, copy
	mov	ecx, 2
	cld
	rep	movsd
	MUST	dword [copy + 4], FEMTO, 'k'
	mov	al, 10
	call	say
	mov	eax, 0
	mov	edx, 0xf4
	out	dx, al
	hlt

say:	mov	edx, 0x3f8
	out	dx, al
	ret

section .bss
copy:	resd	2
	resb	64
stack:

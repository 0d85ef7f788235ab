; A display whose memory holds every byte, and registers that the guest's last word chooses, a letter: tests/screen.t
; says what is seen.

%include "multiboot.inc"

CELLS	equ 0x4000

%macro crtc 2					; register, value
	mov	al, %1
	mov	ah, %2
	mov	dx, 0x3d4
	out	dx, ax
%endmacro

section .text
global _start
_start:	mov	esp, 0x2ff000
	mov	esi, [ebx + 16]			; the words
.last:	mov	al, [esi]
	inc	esi
	test	al, al
	jnz	.last
	movzx	ebp, byte [esi - 3]		; the last one is a blank
	sub	ebp, 'a'
	xor	ecx, ecx
.cell:	mov	eax, ecx			; cell n holds n * 7 + n / 256
	imul	eax, 7
	mov	edx, ecx
	shr	edx, 8
	add	al, dl
	mov	ah, 0x1f
	mov	[0xb8000 + 2 * ecx], ax
	inc	ecx
	cmp	ecx, CELLS
	jne	.cell
	lea	ebp, [cases + 4 * ebp + ebp]
	crtc	0x0a, [ebp]
	crtc	0x0c, [ebp + 1]
	crtc	0x0d, [ebp + 2]
	crtc	0x0e, [ebp + 3]
	crtc	0x0f, [ebp + 4]
	cmp	byte [ebp], 0x21
	jne	.end
	mov	edi, 0xb8000			; nothing but blanks, of both kinds
	mov	ecx, CELLS
	mov	eax, 0x0720
	rep	stosw
	mov	byte [0xb8000 + 2 * 85], 0
.end:	xor	eax, eax
	out	0xf4, al
	hlt
	jmp	.end

;	cursor's first line, start, cursor: tests/screen.t has the same
cases:	db	0, 0, 0, 0, 85			; a
	db	0, 0x3f, 0xf0, 0, 0		; b: the picture goes around the memory's end
	db	0, 0xff, 0xff, 0xff, 0xff	; c
	db	0x20, 0x12, 0x34, 0x12, 0x34	; d: no cursor
	db	0, 0x08, 0x00, 0x07, 0xff	; e: the cursor is before the picture
	db	0x21, 0, 0, 0, 0		; f

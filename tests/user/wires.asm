; A guest that writes anything to its keyboard and the keyboard's controller, and reads: 6,000 accesses by the last
; letter of its command line. It asks for no reset, and leaves A20 alone. At the end it prints a sum of all that it has
; read.

%include "multiboot.inc"

%define ACCESSES 6000

	flat_start
	last_letter
	movzx	esi, bl
	xor	edi, edi		; the sum
	xor	ebp, ebp		; the next byte to 60 may be the output port's
	mov	ecx, ACCESSES
.next:	call	draw
	mov	ebx, eax
	call	draw
	test	bl, 3			; of what it writes a fourth is any byte
	jz	.byte
	xor	edx, edx
	push	ecx
	mov	ecx, known.end - known
	div	ecx
	pop	ecx
	mov	al, [known + edx]
.byte:	shr	ebx, 4
	and	ebx, 7
	jmp	[ways + 4 * ebx]

read:	in	al, 0x60
	jmp	add
status:	in	al, 0x64
	jmp	add
lines:	in	al, 0x92
add:	movzx	eax, al
	rol	edi, 5
	add	edi, eax
	jmp	over
data:	test	ebp, ebp
	jz	.out
	or	al, 3			; no reset, and A20 on
	xor	ebp, ebp
.out:	out	0x60, al
	jmp	over
command:
	cmp	al, 0xd1
	jne	.pulse
	inc	ebp
.pulse:	cmp	al, 0xf0
	jb	.out
	or	al, 1
.out:	out	0x64, al
over:	dec	ecx
	jnz	_start.next
	mov	ecx, 8
.digit:	rol	edi, 4
	mov	eax, edi
	and	al, 15
	cmp	al, 10
	sbb	al, 0x69		; as in keys.asm
	das
	mov	edx, 0x3f8
	out	dx, al
	loop	.digit
	mov	al, 10
	out	dx, al
	xor	eax, eax
	out	0xf4, al
	hlt

; EAX: 16 bits at random
draw:	imul	esi, esi, 1664525
	add	esi, 1013904223
	mov	eax, esi
	shr	eax, 16
	ret

section .data align=4
ways:	dd	read, read, status, lines, data, data, command, command
known:	db	0x20, 0x60, 0x60, 0xd1, 0xd2, 0xd3, 0xd4, 0xa9, 0xaa, 0xad, 0xae, 0xd0, 0xed, 0xee, 0xf0, 0xf2, 0xf3
	db	0xf4, 0xf5, 0xf6, 0xff, 0, 1, 2, 3, 0x45, 0x05, 0x65
.end:

	flat_tables 0

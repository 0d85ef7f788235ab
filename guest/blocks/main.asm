; What a translator meets, in a few instructions: flags, a call and its return, a loop, and code that changes. Prints
; the sum that it has come to; the handouts of Lab 3 look at its blocks.

ROUNDS	equ	100
CHANGES	equ	20

section .text
global guest_main
guest_main:
	push	ebx
	xor	ebx, ebx
	mov	ecx, ROUNDS
.again:	pushfd				; what every kernel does around a critical section
	cli
	call	add_up
	popfd
	dec	ecx
	jnz	.again

	mov	ecx, CHANGES
.other:	add	dword [changes.at - 4], 3	; the operand of its add
	call	changes
	dec	ecx
	jnz	.other

	mov	ecx, 8
.digit:	rol	ebx, 4
	mov	eax, ebx
	and	eax, 15
	cmp	al, 10
	sbb	al, 0x69
	das				; 0 to 9, A to F
	call	put_byte
	dec	ecx
	jnz	.digit
	mov	al, 10
	call	put_byte
	xor	eax, eax
	pop	ebx
	ret

add_up:
	add	ebx, ecx
	ret

changes:
	db	0x81, 0xc3		; add ebx, imm32
	dd	7
.at:	ret

put_byte:
	mov	edx, 0x3f8
	out	dx, al
	ret

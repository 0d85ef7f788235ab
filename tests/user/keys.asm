; A guest that prints in hex what its keyboard sends: by polls, with and without the controller's translation, and then
; by interrupts, between which it sleeps.

%include "multiboot.inc"

%define PIC	0x20
%define VECTOR	0x21

	flat_start
	idt_gate VECTOR, pressed
	lidt	[idtr]
	mov	edi, 6			; "aZ" in set 1
	call	poll
	mov	al, 0x04		; no translation
	call	mode
	mov	edi, 9			; ... in set 2
	call	poll
	mov	al, 0x45		; translation, and IRQ 1
	call	mode
	mov	al, 0x11		; ICW1 to ICW4, as in bell.asm
	out	PIC, al
	mov	al, 0x20
	out	PIC + 1, al
	mov	al, 4
	out	PIC + 1, al
	mov	al, 1
	out	PIC + 1, al
	mov	al, 0xff & ~(1 << 1)
	out	PIC + 1, al
	mov	al, 0xf4		; keys, please: fa, and set 1
	out	0x60, al
	mov	edi, 7
.sleep:	sti
	hlt
	cli
	test	edi, edi
	jnz	.sleep
	mov	al, 10
	call	say
	xor	eax, eax
	out	0xf4, al
	hlt

mode:	mov	bl, al
	mov	al, 0x60
	out	0x64, al
	mov	al, bl
	out	0x60, al
	ret

; So many bytes.
poll:	in	al, 0x64
	test	al, 1
	jz	poll
	call	take
	dec	edi
	jnz	poll
	mov	al, ' '
	jmp	say

; Takes one and prints it.
take:	in	al, 0x60
	mov	bl, al
	shr	al, 4
	call	digit
	mov	al, bl
	and	al, 15
digit:	cmp	al, 10
	sbb	al, 0x69		; 0-9, A-F, as `das` makes them
	das
say:	mov	edx, 0x3f8
	out	dx, al
	ret

pressed:
	call	take
	dec	edi
	mov	al, 0x20		; EOI
	out	PIC, al
	iret

	flat_tables VECTOR + 1

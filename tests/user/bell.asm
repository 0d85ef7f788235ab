; A guest that rings a device model's doorbell, and is answered by interrupt 5: while it sleeps, while it computes, and
; when it has rung often. Prints a letter for each by COM1.

%include "multiboot.inc"

%define BELL	0x310
%define COM1	0x3f8
%define EXIT	0xf4
%define PIC	0x20
%define OFTEN	1000
%define VECTOR	0x25

	flat_start
	idt_gate VECTOR, answered
	lidt	[idtr]
	mov	al, 0x11		; ICW1 to ICW4: vectors from 0x20 on, a slave at 2, no automatic EOI
	out	PIC, al
	mov	al, 0x20
	out	PIC + 1, al
	mov	al, 4
	out	PIC + 1, al
	mov	al, 1
	out	PIC + 1, al
	mov	al, 0xff & ~(1 << 5)
	out	PIC + 1, al
	mov	edx, BELL
	in	al, dx			; from here on the device model has its bell
	out	dx, al
.sleep:	sti				; the answer may be there already: not before it sleeps
	hlt
	cli
	cmp	dword [heard], 1
	jb	.sleep
	sti
	mov	al, 's'
	call	say
	mov	edx, BELL
	out	dx, al
.work:	cmp	dword [heard], 2
	jb	.work
	mov	al, 'w'
	call	say
	mov	edx, BELL
	mov	ecx, OFTEN
.more:	out	dx, al
	loop	.more
	in	eax, dx
	cmp	eax, OFTEN + 2
	jne	.end
	mov	al, 'o'
	call	say
.end:	mov	al, 10
	call	say
	xor	eax, eax
	mov	edx, EXIT
	out	dx, al
	hlt

say:	mov	edx, COM1
	out	dx, al
	ret

answered:
	push	eax
	inc	dword [heard]
	mov	al, 0x20		; EOI
	out	PIC, al
	pop	eax
	iret

	flat_tables VECTOR + 1

section .bss
heard:	resd	1

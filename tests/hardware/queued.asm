; An interrupt that comes up in an exit that ends in a fault. `rep outsb` turns COM1's interrupt on with its first byte,
; and its second one is behind the segment's limit: the fault's handler runs with IF=0, makes exits, and must not be
; interrupted; the interrupt comes behind its iret. Says G and g in the fault's handler, I in the interrupt's, E at the
; end.

%include "multiboot.inc"

%macro	SAY 1
	push	eax
	push	edx
	mov	dx, 0x3f8
	mov	al, %1
	out	dx, al
	pop	edx
	pop	eax
%endmacro

%macro	OUT8 2
	mov	al, %2
	out	%1, al
%endmacro

section .text
global _start
_start:	mov	esp, 0x2ff000
	mov	eax, last
	mov	[gdt + 26], ax
	shr	eax, 16
	mov	[gdt + 28], al
	flat_segments
	idt_gate 13, fault
	idt_gate 0x24, irq
	lidt	[idtr]
	OUT8	0x20, 0x11
	OUT8	0x21, 0x20
	OUT8	0x21, 4
	OUT8	0x21, 1
	OUT8	0x21, 0xef		; COM1's alone
	mov	dx, 0x3fc
	OUT8	dx, 0x0b		; OUT2: COM1's line is wired
	mov	dx, 0x3f9
	xor	esi, esi
	mov	ecx, 2
	mov	ax, 24			; one byte, and no more
	mov	fs, ax
	sti
	nop
	fs rep outsb
	SAY	'E'
	SAY	10
	mov	al, [interrupted]
	out	0xf4, al
	hlt

fault:	SAY	'G'
	SAY	'g'
	add	esp, 4
	add	dword [esp], 3		; behind fs rep outsb
	iret

irq:	push	eax
	push	edx
	mov	eax, [esp + 8]		; where it came
	sub	eax, fault
	cmp	eax, irq - fault
	jae	.well
	inc	byte [interrupted]
.well:	mov	dx, 0x3f9
	OUT8	dx, 0
	SAY	'I'
	OUT8	0x20, 0x20
	pop	edx
	pop	eax
	iret

	flat_tables 0x30, 0x0040930000000000	; one byte, from `last` on
interrupted:
	db	0
last:	db	2			; THRE, to COM1's IER

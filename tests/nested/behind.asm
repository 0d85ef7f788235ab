; An interrupt that waits for an sti comes behind the instruction after it (APM 2 15.21.5 "Interrupt Shadows"), also
; if that one's page is touched for the first time: its fetch is an exit between the two. Says B if it came there, I if
; it came too early, L if it came later.

%include "multiboot.inc"

%macro	OUT8 2
	mov	al, %2
	out	%1, al
%endmacro

FRESH	equ 0x301000			; zeros: add [eax], al, which is two bytes

section .text
global _start
_start:	mov	esp, 0x2ff000
	lgdt	[gdtr]
	jmp	8:.cs
.cs:	mov	ax, 16
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	mov	eax, irq
	mov	[idt + 8 * 0x24], ax
	mov	word [idt + 8 * 0x24 + 2], 8
	mov	word [idt + 8 * 0x24 + 4], 0x8e00
	shr	eax, 16
	mov	[idt + 8 * 0x24 + 6], ax
	lidt	[idtr]
	OUT8	0x20, 0x11
	OUT8	0x21, 0x20
	OUT8	0x21, 4
	OUT8	0x21, 1
	OUT8	0x21, 0xef		; COM1's alone
	mov	dx, 0x3fc
	OUT8	dx, 0x0b		; OUT2: COM1's line is wired
	mov	dx, 0x3f9
	OUT8	dx, 2			; the transmitter is empty, and says so from now on
	mov	eax, gdt
	mov	byte [FRESH - 1], 0xfb	; sti
	jmp	FRESH - 1

irq:	mov	ecx, [esp]
	mov	bl, 'I'
	cmp	ecx, FRESH + 2
	jb	.say
	mov	bl, 'B'
	je	.say
	mov	bl, 'L'
.say:	mov	dx, 0x3f9
	OUT8	dx, 0
	mov	dx, 0x3f8
	OUT8	dx, bl
	OUT8	dx, 10
	OUT8	0xf4, 0
	hlt

section .data align=8
gdt:	dq	0
	dq	0x00cf9b000000ffff
	dq	0x00cf93000000ffff
gdtr:	dw	gdtr - gdt - 1
	dd	gdt
idtr:	dw	8 * 0x30 - 1
	dd	idt
section .bss align=8
idt:	resq	0x30

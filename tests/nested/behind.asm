; An interrupt that waits for an sti comes behind the instruction after it (APM 2 15.21.5 "Interrupt Shadows"), also
; if that one's page is touched for the first time: its fetch is an exit between the two. Says B if it came there, I if
; it came too early, L if it came later.

%include "multiboot.inc"

%macro	OUT8 2
	mov	al, %2
	out	%1, al
%endmacro

FRESH	equ 0x301000			; zeros: add [eax], al, which is two bytes

	flat_start
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

	flat_tables 0x30

; The ends that C cannot say. All `void f(void)`.

LDT	equ 0x18

section .text

global sleep_for_ever
sleep_for_ever:
	sti
	hlt
	jmp	sleep_for_ever

global undefined
undefined:
	ud2

; A GDT of 8 KiB, an LDT, and a segment register from each: several pages of shadow tables.
global own_tables
own_tables:
	mov	eax, ldt		; the LDT's base, which no relocation can split
	mov	[gdt + LDT + 2], ax
	shr	eax, 16
	mov	[gdt + LDT + 4], al
	lgdt	[gdtr]
	jmp	0x08:.here
.here:	mov	eax, 0x10
	mov	ss, eax
	mov	ds, eax
	mov	eax, LDT
	lldt	ax
	mov	eax, 0x0c		; entry 1 of the LDT
	mov	es, eax
	mov	eax, 0x1ff8		; the GDT's last entry
	mov	fs, eax
	ret

section .data
	align	16
gdt:	dq	0
	dq	0x00cf9b000000ffff	; flat code
	dq	0x00cf93000000ffff	; flat data
	dw	ldt_end - ldt - 1, 0, 0x8200, 0
	times	1023 - 4 dq 0
	dq	0x00cf93000000ffff
gdt_end:
gdtr:	dw	gdt_end - gdt - 1
	dd	gdt
ldt:	dq	0, 0x00cf93000000ffff
ldt_end:

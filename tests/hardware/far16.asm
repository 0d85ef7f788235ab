; 16-bit code far beyond 64 KiB: EIP has 32 bits there, too, and only a jump of 16 bits cuts it (SDM 1 3.5 "Instruction
; Pointer"). The instruction behind one that exits is the next one. Says `K`.

%include "multiboot.inc"

section .text
global _start
_start:	mov	esp, 0x2ff000
	lgdt	[gdtr]
	jmp	8:.cs
.cs:	mov	ax, 24
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	mov	eax, 0x80000000
	jmp	16:.far
bits 16
.far:	cpuid
	in	al, 0x80
	db	0x66, 0xea			; jmp 8:.back
	dd	.back
	dw	8
bits 32
.back:	mov	bl, 'K'
.say:	mov	dx, 0x3fd
.busy:	in	al, dx
	test	al, 0x20			; THRE
	jz	.busy
	mov	al, bl
	mov	dx, 0x3f8
	out	dx, al
	cmp	bl, 10
	mov	bl, 10
	jne	.say
	xor	eax, eax
	out	0xf4, al
	hlt

section .data align=8
gdt:	dq	0
	dq	0x00cf9b000000ffff
	dq	0x008f9b000000ffff		; 16 bits, 4 GiB
	dq	0x00cf93000000ffff
gdtr:	dw	gdtr - gdt - 1
	dd	gdt

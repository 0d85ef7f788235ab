; A step of an instruction that exits: TF is set in front of cpuid, and its #DB is the guest's. Says `S` if it comes
; behind the cpuid, `s` if elsewhere.

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
	mov	eax, debug
	mov	[idt + 8], ax
	mov	word [idt + 10], 8
	mov	word [idt + 12], 0x8e00
	shr	eax, 16
	mov	[idt + 14], ax
	lidt	[idtr]
	mov	bl, 's'
	push	dword 0x102			; TF
	mov	eax, 0x80000000
	popf
	cpuid
behind:	jmp	_start.say
debug:	mov	bl, 's'
	cmp	dword [esp], behind
	jne	_start.say
	mov	bl, 'S'
	jmp	_start.say
_start.say:	mov	dx, 0x3fd
_start.busy:	in	al, dx
	test	al, 0x20			; THRE
	jz	_start.busy
	mov	al, bl
	mov	dx, 0x3f8
	out	dx, al
	cmp	bl, 10
	mov	bl, 10
	jne	_start.say
	xor	eax, eax
	out	0xf4, al
	hlt

section .data align=8
gdt:	dq	0
	dq	0x00cf9b000000ffff
	dq	0
	dq	0x00cf93000000ffff
gdtr:	dw	gdtr - gdt - 1
	dd	gdt
idtr:	dw	15
	dd	idt

section .bss align=8
idt:	resq	2

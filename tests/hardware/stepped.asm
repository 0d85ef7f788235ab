; Instructions that have to do with traps or hold them back, for a debugger that steps from `ready` on: `where` lists
; the addresses that it comes to, one for each step, and a 0. Says `K` if no flags that were pushed had TF.

%include "multiboot.inc"

TF	equ 0x100

section .data
where:

; Where a step leads.
%macro	to 1
	section .data
	dd	%1
	section .text
%endmacro

; An interrupt gate.
%macro	gate 2				; vector, handler
	mov	eax, %2
	mov	[idt + 8 * %1], ax
	mov	word [idt + 8 * %1 + 2], 8
	mov	word [idt + 8 * %1 + 4], 0x8e00
	shr	eax, 16
	mov	[idt + 8 * %1 + 6], ax
%endmacro

section .text
global _start, ready, where, done
_start:	mov	esp, 0x2ff000
	lgdt	[gdtr]
	jmp	8:.cs
.cs:	mov	ax, 16
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	gate	0x20, tick
	gate	0x30, called
	lidt	[idtr]
	mov	al, 0x11			; the PIC: vectors from 20h on, and IRQ 0 alone
	out	0x20, al
	mov	al, 0x20
	out	0x21, al
	mov	al, 4
	out	0x21, al
	mov	al, 1
	out	0x21, al
	mov	al, 0xfe
	out	0x21, al
	mov	al, 0x34			; the PIT, as slow as it goes
	out	0x43, al
	mov	al, 0
	out	0x40, al
	out	0x40, al
	mov	esi, idt
	mov	edi, idt
	mov	ecx, 2
	mov	ax, ss
ready:	mov	ss, ax
	to	.held
.held:	pushf
	to	.pop
.pop:	pop	ebx
	to	.note
.note:	or	[pushed], ebx
	to	.push
.push:	push	dword 2
	to	.popf
.popf:	popf
	to	.call
.call:	int	0x30
	to	called
	to	called.note
	to	called.iret
	to	.again
.again:	rep movsb
	to	.again
	to	.sti
.sti:	sti
	to	.hlt
.hlt:	hlt
	to	.cli
	to	tick			; which has waked it
	to	tick.mov
	to	tick.out
	to	tick.pop
	to	tick.iret
	to	.cli
.cli:	cli
	to	done
	to	0
done:	mov	al, 'K'
	test	dword [pushed], TF
	jz	.say
	mov	al, 'k'
.say:	mov	bl, al
	call	put
	mov	bl, 10
	call	put
	xor	eax, eax
	out	0xf4, al
	hlt

put:	mov	dx, 0x3fd
.busy:	in	al, dx
	test	al, 0x20			; THRE
	jz	.busy
	mov	al, bl
	mov	dx, 0x3f8
	out	dx, al
	ret

called:	mov	ebx, [esp + 8]			; the flags that int has pushed
.note:	or	[pushed], ebx
.iret:	iret

tick:	push	eax
.mov:	mov	al, 0x20
.out:	out	0x20, al
.pop:	pop	eax
.iret:	iret

section .data
gdt:	dq	0
	dq	0x00cf9b000000ffff
	dq	0x00cf93000000ffff
gdtr:	dw	gdtr - gdt - 1
	dd	gdt
idtr:	dw	8 * 0x31 - 1
	dd	idt

section .bss align=8
idt:	resq	0x31
pushed:	resd	1

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

global ready, where, done
	flat_start
	idt_gate 0x20, tick
	idt_gate 0x30, called
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
.say:	say_and_end

called:	mov	ebx, [esp + 8]			; the flags that int has pushed
.note:	or	[pushed], ebx
.iret:	iret

tick:	push	eax
.mov:	mov	al, 0x20
.out:	out	0x20, al
.pop:	pop	eax
.iret:	iret

	flat_tables 0x31

section .bss
pushed:	resd	1

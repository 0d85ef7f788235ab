; 16-bit code for a debugger: protected, then real mode, whose segments do not begin at 0, with its interrupts, far
; calls and stack; and back. `where` lists linear addresses that a debugger's steps from `ready` on come to, and a
; 0. Says `K` if no flags that were pushed had TF, and what the code wrote is where it belongs.

%include "multiboot.inc"

LOW	equ 0x7030			; where the 16-bit code runs: its segment has a 3 in its value
DATA	equ 0x8013			; and that of its data
TF	equ 0x100

section .data
where:
%macro	to 1
	section .data
	dd	LOW + %1 - low
	section .text
%endmacro

global ready, where, low
	flat_start
	mov	esi, low
	mov	edi, LOW
	mov	ecx, low_end - low
	rep	movsb
	mov	word [4 * 0x21], called - low
	mov	word [4 * 0x21 + 2], LOW >> 4
	lidt	[real_idt]
	mov	ax, 32
	mov	ss, ax
	mov	esp, 0x6000
ready:	jmp	24:0
	to	low
back:	mov	ax, 16
	mov	ds, ax
	mov	ss, ax
	mov	al, 'K'
	cmp	byte [DATA * 16 + 0x10], 'w'
	jne	.not
	test	word [DATA * 16 + 0x12], TF
	jz	.say
.not:	mov	al, 'k'
.say:	say_and_end

bits 16
low:	mov	eax, cr0			; protected, at 0 of a segment that begins at LOW
	to	.ax
.ax:	and	al, 0xfe
	to	.leave
.leave:	mov	cr0, eax
	to	.jump
.jump:	jmp	LOW >> 4:.real - low
	to	.real
.real:	xor	ax, ax
	to	.ss
.ss:	mov	ss, ax
	to	.ds				; a step over mov ss is one instruction
.ds:	mov	ax, DATA
	to	.load
.load:	mov	ds, ax
	to	.write
.write:	mov	byte [0x10], 'w'
	to	.int
.int:	int	0x21
	to	called
	to	called.ax
	to	called.note
	to	called.pop
	to	called.iret
	to	.far
.far:	call	LOW >> 4:away - low
	to	away
	to	.in
.in:	in	al, 0x80
	to	.cpuid
.cpuid:	cpuid
	to	.again
.again:	mov	eax, cr0
	to	.on
.on:	or	al, 1
	to	.pe
.pe:	mov	cr0, eax
	to	.out
.out:	jmp	dword 8:back
called:	push	bp
.ax:	mov	bp, [esp + 6]			; the flags that int has pushed
.note:	mov	[0x12], bp
.pop:	pop	bp
.iret:	iret
away:	retf
low_end:
bits 32

section .data
	dd	0
; 16-bit code from LOW on, and a stack of 16 bits
	flat_tables 0, 0x00009b000000ffff | LOW << 16, 0x000093000000ffff
real_idt:
	dw	0x3ff
	dd	0

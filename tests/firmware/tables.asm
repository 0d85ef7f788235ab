; A ROM of 64 KiB with a page directory in it, and another one in the RAM that PAM shows in its place. 4 MiB from 400000
; on are the I/O APIC's in ROM's, in RAM's where nobody is. It prints `v` for the version of an I/O APIC, `o` for ones.

bits 16
org 0

DIRECTORY equ 0x8000		; in the ROM: f8000
LOW	equ 0x10000		; where a copy of the code runs
COPY	equ 0x20000

start:	cli
	cld
	xor	ax, ax
	mov	ss, ax
	mov	sp, 0x7c00
	mov	ax, cs
	mov	ds, ax
	mov	ax, LOW >> 4
	mov	es, ax
	xor	si, si
	xor	di, di
	mov	cx, 0x8000
	rep	movsw
	mov	dx, 0x3fb
	mov	al, 3
	out	dx, al
	mov	ax, LOW >> 4
	mov	ds, ax
	lgdt	[gdtr]
	mov	eax, cr0
	or	al, 1
	mov	cr0, eax
	jmp	dword 8:LOW + protected

bits 32
; PAM0 := %1, and the directory anew.
%macro	pam 1
	mov	dx, 0xcf8
	mov	eax, 0x80000058
	out	dx, eax
	mov	dx, 0xcfd
	mov	al, %1
	out	dx, al
	mov	eax, 0xf0000 + DIRECTORY
	mov	cr3, eax
%endmacro

protected:
	mov	ax, 16
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	mov	esp, 0x7c00
	mov	esi, 0xf0000
	mov	edi, COPY
	mov	ecx, 0x4000
	rep	movsd
	pam	0x30
	mov	esi, COPY
	mov	edi, 0xf0000
	mov	ecx, 0x4000
	rep	movsd
	mov	dword [0xf0000 + DIRECTORY + 4], 0xd00000e3
	pam	0
	mov	eax, cr4
	or	al, 0x10		; PSE
	mov	cr4, eax
	mov	eax, cr0
	or	eax, 0x80000000
	mov	cr0, eax
	call	read			; v
	pam	0x30
	call	read			; o
	pam	0x10
	call	read			; o
	pam	0
	call	read			; v
	pam	0x10
	call	read			; o
	mov	al, 10
	call	putc
	mov	al, 0
	out	0xf4, al
.halt:	hlt
	jmp	.halt

read:	mov	dword [0x400000], 1
	mov	eax, [0x400010]
	inc	eax
	mov	al, 'o'
	jz	putc
	mov	al, 'v'
putc:	mov	ah, al
	mov	dx, 0x3fd
.wait:	in	al, dx
	test	al, 0x20
	jz	.wait
	mov	al, ah
	mov	dx, 0x3f8
	out	dx, al
	ret

align 8
gdt:	dq	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:	dw	gdtr - gdt - 1
	dd	LOW + gdt

	times DIRECTORY - ($ - $$) db 0
	dd	0x000000e3, 0xfec000e3	; present, writable, accessed, dirty, 4 MiB
	times 0xfff0 - ($ - $$) db 0
bits 16
	jmp	0xf000:start
	times 0x10000 - ($ - $$) db 0

; A guest that means its PCI bus and its disk no good, on the platform pc-apic with a disk of 4,096 sectors of which
; each begins with its number. Exit code 0: all was refused, and what is right still works; else the number of the step
; that went wrong. With `t` as the last letter of its command line it ends by DMA over its own page tables; with `s` it
; spins, and does nothing.

%include "multiboot.inc"
%include "disk/ide.inc"

SECTORS	equ 4096
TABLE	equ 0x200000
BUFFER	equ 0x210000
TABLES	equ 0x300000

%macro	step 1			; what fails from here on
	mov	byte [fails], %1
%endmacro
; one region: address, size and last; BM command with its direction
%macro	master 3
	outb	BM, 0
	outb	BM + 2, 6
	mov	eax, %1
	mov	[TABLE], eax
	mov	dword [TABLE + 4], %2
	outd	BM + 4, TABLE
	outb	BM, %3
%endmacro

section .text
global _start
_start:
	mov	esp, 0x90000
	mov	esi, [ebx + 16]
.last:	lodsb
	test	al, al
	jz	.begin
	cmp	al, ' '
	je	.last
	mov	[letter], al
	jmp	.last

.begin:	cmp	byte [letter], 's'
	je	$
	step	1		; every width at each port, aligned or not
	mov	edx, 0xcf5
.ports:	mov	eax, 0x80001000
	out	dx, ax
	in	ax, dx
	in	eax, dx
	out	dx, eax
	cmp	edx, 0xcf8	; a byte with bit 2 at cf9 would be a reset
	jb	.next
	in	al, dx
.next:	inc	edx
	cmp	edx, 0xd01
	jb	.ports
	outd	0xcf8, 0x80000000
	mov	edx, 0xcfc
	in	eax, dx
	cmp	eax, 0x12378086
	jne	bad

	step	2		; the bus master's ports, wherever they can be put
	outd	0xcf8, 0x80000920
	mov	ecx, 0xfff0
.bar:	mov	edx, 0xcfc
	mov	eax, ecx
	out	dx, eax
	mov	edx, ecx
	add	edx, 2
	in	ax, dx
	sub	ecx, 0x10
	jnc	.bar
	outd	0xcfc, BM
	in	eax, dx
	cmp	eax, BM + 1
	jne	bad
	outd	0xcf8, 0x80000904
	outd	0xcfc, 5

	step	3		; beyond the end; and 256 sectors, of which the last is
	command	SECTORS, 1, 0x20
	call	refused
	command	SECTORS - 255, 0, 0x20
	call	refused
	command	0xfffffff, 0, 0xca
	call	refused

	step	4		; DMA to where there is no RAM: registers, ROMs, beyond, over 4 GiB
	mov	ebp, wild
.wild:	command	1, 8, 0xc8
	master	[ebp], 0x80001000, 9
	call	dma_failed
	add	ebp, 4
	cmp	dword [ebp], 0
	jne	.wild

	step	5		; a table that lies nowhere, and one that runs into its 64 KiB's end
	command	1, 8, 0xc8
	outb	BM, 0
	outb	BM + 2, 6
	outd	BM + 4, 0xfee00000
	outb	BM, 9
	call	dma_failed
	command	1, 8, 0xc8
	outb	BM, 0
	outb	BM + 2, 6
	mov	dword [TABLE + 0xfff8], BUFFER
	mov	dword [TABLE + 0xfffc], 2
	outd	BM + 4, TABLE + 0xfff8
	outb	BM, 9
	call	dma_failed

	step	6		; a reset in the middle of a long transfer, again and again
	mov	ecx, 50
.reset:	push	ecx
	command	0, 0, 0xc8
	master	BUFFER, 0, 9
	outb	0x3f6, 4
	outb	0x3f6, 0
	outb	BM, 0		; which no reset of the disk stops
	mov	edx, 0x1f7
	in	al, dx
	cmp	al, 0x50
	jne	bad
	pop	ecx
	dec	ecx
	jnz	.reset

	step	7		; commands and data in the middle of another one's
	command	3, 2, 0x20
	mov	edx, 0x1f0
	in	al, dx
	command	7, 1, 0x20
	mov	edx, 0x1f0
	in	eax, dx
	cmp	eax, 7
	jne	bad

	step	8		; what was written by PIO comes back by DMA
	command	9, 1, 0x30
	mov	edx, 0x1f0
	mov	esi, BUFFER
	mov	dword [esi], 0x12345678
	mov	ecx, 256
	rep outsw
	command	9, 1, 0xc8
	master	BUFFER + 0x1000, 0x80000200, 9
	mov	ecx, 1000
.wait:	mov	edx, BM + 2
	in	al, dx
	test	al, 4
	jnz	.done
	loop	.wait
	jmp	bad
.done:	cmp	dword [BUFFER + 0x1000], 0x12345678
	jne	bad
	cmp	byte [letter], 't'
	je	tables
	mov	byte [fails], 0
bad:	mov	al, [fails]
	out	0xf4, al
	hlt

refused:
	mov	edx, 0x1f7
	in	al, dx
	cmp	al, 0x51
	jne	bad
	mov	edx, 0x1f1
	in	al, dx
	cmp	al, 0x10
	jne	bad
	ret

dma_failed:
	mov	edx, BM + 2
	in	al, dx
	and	al, 7
	cmp	al, 6
	jne	bad
	mov	edx, 0x1f7
	in	al, dx
	cmp	al, 0x51
	jne	bad
	ret

tables:	mov	edi, TABLES		; 4 MiB pages, each address itself
	mov	eax, 0x83
.fill:	stosd
	add	eax, 0x400000
	jnc	.fill
	mov	eax, cr4
	or	eax, 0x10
	mov	cr4, eax
	mov	eax, TABLES
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 0x80000000
	mov	cr0, eax
	command	0, 8, 0xc8
	master	TABLES, 0x80001000, 9
	mov	eax, cr3
	mov	cr3, eax
	mov	al, 99
	out	0xf4, al
	hlt

section .data
wild:	dd	0xfee00000, 0xfec00000, 0xe0000, 0xbffff000, 0xfffff800, 0x9f800, 0x7ffffff0, 0
fails:	db	0
letter:	db	0

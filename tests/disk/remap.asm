; Has a page table in use written by DMA, and reloads CR3. Exit code 0: the pages are where the disk said, and both
; flags were set in the new entry, by whoever walks.

%include "multiboot.inc"
%include "disk/ide.inc"

SECTOR	equ 20
PRD	equ 0x200000
TABLE	equ 0x301000
TOP	equ 0x300000
HERE	equ 0x40000000		; mapped to OLD first, to NEW then
OLD	equ 0x500000
NEW	equ 0x600000

section .text
global _start
_start:	mov	esp, 0x90000
	mov	edi, TOP
	mov	eax, 0x83
.large:	stosd
	add	eax, 0x400000
	jnc	.large
	mov	edi, TABLE
	mov	eax, OLD + 3
	call	entries
	mov	dword [TOP + (HERE >> 20)], TABLE + 3
	mov	edi, 0x380000
	mov	esi, edi
	mov	eax, NEW + 3
	call	entries
	command	SECTOR, 1, 0x30
	mov	edx, 0x1f0
	mov	ecx, 256
	rep outsw

	mov	dword [OLD], 1
	mov	dword [NEW], 2
	mov	eax, cr4
	or	eax, 0x10
	mov	cr4, eax
	mov	eax, TOP
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 0x80010000
	mov	cr0, eax
	cmp	dword [HERE], 1
	jne	bad
	mov	dword [HERE], 3		; writable, and known to be so

	command	SECTOR, 1, 0xc8
	mov	dword [PRD], TABLE
	mov	dword [PRD + 4], 0x80000200
	outb	BM, 0
	outd	BM + 4, PRD
	outb	BM, 9
	mov	ecx, 1000
.wait:	mov	edx, BM + 2
	in	al, dx
	test	al, 4
	jnz	.done
	loop	.wait
	jmp	bad
.done:	mov	eax, cr3
	mov	cr3, eax
	cmp	dword [HERE], 2
	jne	bad
	mov	dword [HERE], 4
	cmp	dword [NEW], 4
	jne	bad
	cmp	dword [OLD], 3
	jne	bad
	mov	eax, [TABLE]
	and	eax, 0x60
	cmp	eax, 0x60
	jne	bad
	mov	al, 0
	out	0xf4, al
bad:	mov	al, 1
	out	0xf4, al
	hlt

entries:
	mov	ecx, 128
.next:	stosd
	add	eax, 0x1000
	loop	.next
	ret

; PAE paging of a 32-bit guest: once it is on, the CPU has walked the tables, and may have marked their topmost entries
; as accessed. Then a move to CR4 exits, and has to go through: it says P, and Q behind it.

%include "multiboot.inc"

section .text
POINTERS	equ 0x300000
DIRECTORY	equ 0x301000

global _start
_start:
	mov	esp, 0x2ff000
	mov	edi, POINTERS
	xor	eax, eax
	mov	ecx, 2048
	rep stosd
	mov	dword [POINTERS], DIRECTORY + 1
	mov	dword [DIRECTORY], 0x000083	; two large pages from 0 on
	mov	dword [DIRECTORY + 8], 0x200083
	mov	eax, POINTERS
	mov	cr3, eax
	mov	eax, cr4
	or	eax, 1 << 5
	mov	cr4, eax
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax
	mov	al, 'P'
	call	say
	mov	eax, cr4
	or	eax, 1 << 7
	mov	cr4, eax
	mov	al, 'Q'
	call	say
	mov	al, 10
	call	say
	mov	al, 0
	out	0xf4, al
	hlt

say:	mov	dx, 0x3f8
	out	dx, al
	ret

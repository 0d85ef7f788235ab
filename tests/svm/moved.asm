; The same address, and each time another instruction there, of another length: `cpuid; ret`, and `cs cpuid; ret`. Its
; page table entry changes, then its bytes, CR3, and the directory's entry. Each way that comes back says its letter.

%include "multiboot.inc"

section .text
DIR1	equ 0x300000
DIR2		equ 0x301000		; a second directory
TABLE1		equ 0x302000		; what maps PLACE: one
TABLE2		equ 0x303000		; and another
TWO_BYTES	equ 0x304000		; cpuid; ret
THREE_BYTES	equ 0x305000		; cs cpuid; ret
PLACE		equ 0x400000

%macro go 1
	mov	edi, PLACE
	call	edi
	mov	al, %1
	call	say
%endmacro

global _start
_start:
	mov	esp, 0x2ff000
	mov	edi, DIR1
	xor	eax, eax
	mov	ecx, 4096		; up to PLACE's frames
	rep stosd
	mov	dword [DIR1], 0x83	; a large page
	mov	dword [DIR2], 0x83
	mov	dword [DIR1 + 4], TABLE1 + 3
	mov	dword [DIR2 + 4], TABLE2 + 3
	mov	dword [TABLE1], TWO_BYTES + 3
	mov	dword [TABLE2], THREE_BYTES + 3
	mov	dword [TWO_BYTES], 0xf4c3a20f
	mov	dword [THREE_BYTES], 0xc3a20f2e
	mov	eax, cr4
	or	eax, 1 << 4		; PSE
	mov	cr4, eax
	mov	eax, DIR1
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax
	go	'a'
	go	'b'
	mov	dword [TABLE1], THREE_BYTES + 3
	invlpg	[PLACE]
	go	'c'
	mov	dword [TABLE1], TWO_BYTES + 3
	invlpg	[PLACE]
	go	'd'
	mov	dword [TWO_BYTES], 0xc3a20f2e
	go	'e'
	mov	dword [TWO_BYTES], 0xf4c3a20f
	go	'f'
	mov	eax, DIR2
	mov	cr3, eax
	go	'g'
	mov	dword [DIR2 + 4], TABLE1 + 3
	invlpg	[PLACE]
	go	'h'
	mov	eax, cr0
	and	eax, ~(1 << 31)
	mov	cr0, eax
	mov	dword [PLACE], 0xc3a20f2e	; paging off: the frame itself
	go	'i'
	mov	al, 10
	call	say
	mov	al, 0
	out	0xf4, al
	hlt

say:	mov	dx, 0x3f8
	out	dx, al
	ret

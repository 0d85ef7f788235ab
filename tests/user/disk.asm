; A guest that uses its IDE disk by ports: a sector read in words, one written in dwords and read again; one beyond the
; disk; the interrupt's line. Prints a letter for each by COM1, or `!`. The disk's sectors begin with their numbers.

%include "multiboot.inc"

%define DATA	0x1f0
%define COUNT	0x1f2
%define LOW	0x1f3
%define ALTERN	0x3f6
%define READ	0x20
%define WRITE	0x30
%define BSY	0x80
%define DRQ	0x08
%define ERR	0x01
%define SECTOR	5
%define MARK	0x5a5a1234

%macro MUST 1			; as the flags say: equal
	mov	al, %1
	je	%%ok
	mov	al, '!'
%%ok:	call	say
%endmacro

section .text
global _start
_start:	mov	esp, stack
	cld
	mov	eax, SECTOR
	mov	bl, READ
	call	command
	mov	al, 0x0a		; OCW3: the slave's IRR
	out	0xa0, al
	in	al, 0xa0
	and	al, 1 << 6
	cmp	al, 1 << 6
	MUST	'i'
	mov	edi, buffer
	mov	ecx, 256
	mov	edx, DATA
	rep	insw
	cmp	dword [buffer], SECTOR
	MUST	'r'
	mov	dword [buffer + 4], MARK
	mov	eax, SECTOR + 1
	mov	bl, WRITE
	call	command
	mov	esi, buffer
	mov	ecx, 128
	mov	edx, DATA
	rep	outsd
	mov	dword [buffer + 4], 0
	mov	eax, SECTOR + 1
	mov	bl, READ
	call	command
	mov	edi, buffer
	mov	ecx, 128
	mov	edx, DATA
	rep	insd
	cmp	dword [buffer + 4], MARK
	MUST	'w'
	mov	eax, 0xffffff
	mov	bl, READ
	call	command
	and	al, ERR | DRQ
	cmp	al, ERR
	MUST	'e'
	mov	al, 10
	call	say
	xor	eax, eax
	mov	edx, 0xf4
	out	dx, al
	hlt

; One sector from eax on, by the command in bl; the status in al.
command:
	push	eax
	mov	edx, COUNT
	mov	al, 1
	out	dx, al
	pop	eax
	inc	edx			; LOW
	out	dx, al
	inc	edx
	shr	eax, 8
	out	dx, al
	inc	edx
	shr	eax, 8
	out	dx, al
	inc	edx
	mov	al, 0xe0		; LBA
	out	dx, al
	inc	edx
	mov	al, bl
	out	dx, al
	mov	edx, ALTERN		; which leaves the interrupt as it is
.wait:	in	al, dx
	test	al, BSY
	jnz	.wait
	ret

say:	mov	edx, 0x3f8
	out	dx, al
	ret

section .bss
	alignb	16
buffer:	resb	512
	resb	256
stack:

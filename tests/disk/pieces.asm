; Transfers by DMA that go on while a string reads a port, whose each element looks at the devices: `p` in pieces of two
; bytes, as many as a table has; `w` in whole regions, the disk again and again.

%include "multiboot.inc"
%include "disk/ide.inc"

TABLE	equ 0x200000
BUFFER	equ 0x300000

section .text
global _start
_start:	mov	esp, 0x90000
	last_letter
	mov	edi, TABLE
	mov	ecx, 8192
	xor	edx, edx
	cmp	bl, 'p'
	jne	.fill
	mov	edx, 2
.fill:	mov	dword [edi], BUFFER
	mov	[edi + 4], edx
	add	edi, 8
	loop	.fill
	mov	ebp, 4
.again:	outb	BM, 0
	outb	BM + 2, 6
	outd	BM + 4, TABLE
	outb	0x1f6, 0xe0
	mov	esi, before
.put:	mov	dx, 0x1f2		; count, and LBA 0: the high halves, and the low ones
	outsb
	inc	edx
	outsb
	inc	edx
	outsb
	inc	edx
	outsb
	cmp	esi, before.end
	jb	.put
	outb	0x1f7, 0x25		; READ DMA EXT, 3,840 sectors
	outb	BM, 9
	mov	edi, BUFFER
	mov	ecx, 1024
	mov	edx, 0x21
	cld
	rep insb
	outb	0x3f6, 4
	outb	0x3f6, 0
	dec	ebp
	jnz	.again
	xor	eax, eax
	out	0xf4, al
	hlt

section .data
before:	db	15, 0, 0, 0, 0, 0, 0, 0
.end:

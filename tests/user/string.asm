; Reads a string from a port that counts, over the end of a page that is there. What the handler of its #PF reads of the
; device model comes between two bytes, and none is lost or read twice: says `K`, else the place of the wrong byte.

%include "multiboot.inc"

TABLE	equ 0x300000			; of pages; the directory is behind it
STRING	equ 0x400fd8			; 40 bytes before the page's end
COUNTER	equ 0x300			; tests/user/model.c
BYTES	equ 64

	flat_start
	idt_gate 14, missing
	lidt	[idtr]
	mov	dword [TABLE], 0x400003
	mov	dword [TABLE + 0x1000], 0x83
	mov	dword [TABLE + 0x1004], TABLE + 3
	mov	eax, 1 << 4
	mov	cr4, eax
	mov	eax, TABLE + 0x1000
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax
	mov	edi, STRING
	mov	edx, COUNTER
	mov	ecx, BYTES
	cld
	rep insb
	mov	esi, STRING
	xor	ecx, ecx
.next:	inc	ecx
	lodsb
	cmp	al, cl
	jne	.wrong
	cmp	ecx, BYTES
	jb	.next
	mov	cl, 'K'
.wrong:	mov	al, cl
	mov	edx, 0x3f8
	out	dx, al
	mov	al, 10
	out	dx, al
	xor	eax, eax
	out	0xf4, al
	hlt

missing:
	in	al, 0x60
	mov	dword [TABLE + 4], 0x401003
	add	esp, 4
	iret

	flat_tables 15

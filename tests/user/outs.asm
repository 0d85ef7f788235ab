; Strings to ports: to COM1 up to a page's end that is not there, backwards, with a count of 0, under TF; longer than is
; handed over at once; to a port that nobody has, and to the 8259s. Prints what it sends.

%include "multiboot.inc"

TABLE	equ 0x300000			; of pages; the directory is behind it
STRING	equ 0x400fd8			; 40 bytes before the page's end
COM1	equ 0x3f8
BYTES	equ 64

	flat_start
	idt_gate 14, missing
	idt_gate 1, stepped
	lidt	[idtr]
	mov	dword [TABLE], 0x400003
	mov	dword [TABLE + 4], 0x401003
	mov	dword [TABLE + 0x1000], 0x83
	mov	dword [TABLE + 0x1004], TABLE + 3
	mov	eax, 1 << 4
	mov	cr4, eax
	mov	eax, TABLE + 0x1000
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax
	cld
	mov	edi, STRING
	mov	ecx, BYTES
	mov	al, '!'
.fill:	stosb
	inc	al
	loop	.fill
	mov	dword [TABLE + 4], 0
	mov	eax, cr3
	mov	cr3, eax
	mov	edx, COM1
	mov	esi, STRING
	mov	ecx, BYTES
	rep outsb			; its page comes by missing
	call	line
	std
	mov	esi, STRING + BYTES - 1
	mov	ecx, BYTES
	rep outsb
	cld
	call	line
	xor	ecx, ecx
	rep outsb
	mov	esi, words
	mov	ecx, 9
	pushfd
	or	dword [esp], 1 << 8
	popfd
	rep outsb			; a #DB behind each
	pushfd
	and	dword [esp], ~(1 << 8)
	popfd
	call	line
	mov	al, [steps]
	call	letter
	mov	edx, 0x1234		; nobody's
	mov	esi, words
	mov	ecx, 6
	rep outsd
	mov	eax, esi
	sub	eax, words
	mov	edx, COM1
	call	letter
	mov	edx, 0x21		; masks, one behind the other
	mov	esi, masks
	mov	ecx, 3
	rep outsb
	in	al, dx
	mov	edx, COM1
	and	al, 15
	call	letter
	call	line
	mov	ecx, 700		; more than is handed over at once
	mov	esi, many
	rep outsb
	call	line
	xor	eax, eax
	out	0xf4, al
	hlt

line:	mov	al, 10
	out	dx, al
	ret
letter:	add	al, 'A'
	out	dx, al
	ret

stepped:
	inc	byte [steps]
	iret

missing:
	mov	dword [TABLE + 4], 0x401003
	add	esp, 4
	iret

	flat_tables 15
words:	db	"one two three four five six"
masks:	db	0xfb, 0xf7, 0xf5
steps:	db	0
many:	times 14 db "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"

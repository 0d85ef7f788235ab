; Reads all that lies between 640 KiB and 1 MiB, but for a display's text, byte by byte; writes there by mov, push, not,
; rep stosb and xadd, and reads it again. Exit code 0: ones were all that it read.

%include "multiboot.inc"

section .text
global _start
_start:
	mov	esp, 0x90000
	call	look
	mov	edi, 0xc8ffe		; over a page's end
	mov	dword [edi], 0x12345678
	mov	esp, 0xf0000
	push	edi
	mov	esp, 0x90000
	not	byte [0xa0010]
	mov	edi, 0xfff80		; and on into RAM
	mov	ecx, 0x90
	mov	al, 0x5a
	rep stosb
	cmp	dword [0x100000 + 12], 0x5a5a5a5a
	jne	bad
	lock xadd [0xe0000], eax
	call	look
	mov	al, 0
	out	0xf4, al
bad:	mov	al, 1
	out	0xf4, al
	hlt

look:	mov	edi, 0xa0000
	mov	ecx, 0x18000
	call	.part
	mov	edi, 0xc0000
	mov	ecx, 0x40000
.part:	mov	al, 0xff
	repe scasb
	jne	bad
	ret

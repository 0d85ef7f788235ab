; A guest of bytes: says what it was given, by a PVH entry (EBX leads to the structure) or as a flat file (to
; the words). nasm -f bin: it lies at 1 MiB, and needs nothing but EBX.

bits 32
org 0x100000
%define MAGIC 0x336ec578

start:	mov	esp, 0x90000
	cld
	cmp	dword [ebx], MAGIC
	je	.pvh
	mov	esi, ebx
	call	text
	jmp	end
.pvh:	cmp	dword [ebx + 4], 1	; version
	jne	end
	mov	esi, [ebx + 24]
	call	text
	mov	al, [ebx + 12]		; modules
	call	digit
	mov	edi, [ebx + 16]
	mov	esi, [edi]		; the first one's address, its size, its words
	mov	ecx, [edi + 8]
.byte:	lodsb
	call	put
	loop	.byte
	mov	al, ' '
	call	put
	mov	esi, [edi + 16]
	call	text
	mov	al, [ebx + 48]		; ranges of memory
	call	digit
	mov	edi, [ebx + 40]
	mov	al, [edi + 48 + 10]	; the third one's size, in 64 KiB: of 16 MiB less one 240
	cmp	al, 240
	mov	al, 'm'
	call	put_if
	mov	edi, [ebx + 32]
	cmp	dword [edi], 'RSD '
	mov	al, 'a'
	call	put_if
	mov	edi, 0x40e		; firmware's data area, which leads to the end of low memory
	cmp	word [edi], 0x9fc0
	mov	al, 'f'
	call	put_if
end:	mov	al, 10
	call	put
	mov	al, 0
	out	0xf4, al
	hlt

text:	lodsb
	or	al, al
	jz	.end
	call	put
	jmp	text
.end:	mov	al, '|'
put:	mov	dx, 0x3f8
	out	dx, al
	ret
put_if:	je	put			; the letter, where it is as it should be
	ret
digit:	add	al, '0'
	jmp	put

; Touches pages from 2 MiB on, as the last letter of its command line says: `n` none; `r` reads five; `w` writes three,
; by mov, push and movups; `i` has two written by rep insb, which is Zeno's to do; `l` writes to one for ever; `b` reads
; where nobody has anything, and one page behind it; `e` goes on from page to page, `t` 1,024 times; `g` writes at
; 1 GiB; `c` has its paging on when it turns the caches off, and on, which is Zeno's to do.

%include "multiboot.inc"

PAGES	equ 0x200000

section .text
global _start
_start:
	last_letter
	mov	edi, PAGES
	cmp	bl, 'r'
	je	.read
	cmp	bl, 'w'
	je	.write
	cmp	bl, 'i'
	je	.string
	cmp	bl, 'g'
	je	.high
	cmp	bl, 'e'
	je	.eat
	mov	ecx, 1024
	cmp	bl, 't'
	je	.some
	cmp	bl, 'l'
	je	.for_ever
	cmp	bl, 'c'
	je	.caches
	cmp	bl, 'b'
	jne	.end
	mov	eax, [0x70000000]
	mov	eax, [edi]
	jmp	.end
.read:	mov	ecx, 5
.next:	mov	eax, [edi]
	add	edi, 0x1000
	loop	.next
	jmp	.end
.write:	mov	[edi], eax
	lea	esp, [edi + 0x1800]
	push	eax
	mov	eax, cr4
	or	eax, 1 << 9
	mov	cr4, eax
	movups	[edi + 0x2000], xmm0
	jmp	.end
.string:
	mov	ecx, 0x1800
	mov	dx, 0x80
	rep insb
	jmp	.end
.caches:
	mov	dword [edi], 0x83	; 4 MiB, where they are
	mov	cr3, edi
	mov	eax, cr4
	or	eax, 1 << 4
	mov	cr4, eax
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax
	xor	eax, 1 << 30
	mov	cr0, eax
	xor	eax, 1 << 30
	mov	cr0, eax
	jmp	.end
.for_ever:
	inc	dword [edi]
	jmp	.for_ever
.high:	mov	[0x40000000 + PAGES], eax
	jmp	.end
.some:	inc	dword [edi]
	add	edi, 0x1000
	loop	.some
	jmp	.end
.eat:	inc	dword [edi]
	add	edi, 0x1000
	jmp	.eat
.end:	mov	al, 0
	out	0xf4, al
	hlt

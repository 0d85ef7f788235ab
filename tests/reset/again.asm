; Says what it finds of an earlier life, spoils it, and resets its machine as its last letter says (tests/reset.t).

%include "multiboot.inc"

LEFT	equ 0x208000				; a byte of RAM

section .text
global _start
_start:	mov	esp, 0x2ff000
	mov	esi, [ebx + 16]			; the words
.last:	mov	al, [esi]
	inc	esi
	test	al, al
	jnz	.last
	mov	bl, [esi - 3]			; the last one is a blank
	mov	esi, fresh
	in	al, 0x21
	cmp	al, 0x5a			; the 8259's mask
	je	.stale
	cmp	byte [LEFT], 0
	je	.say
.stale:	mov	esi, stale
.say:	mov	dx, 0x3f8
.next:	lodsb
	out	dx, al
	cmp	al, 10
	jne	.next
	mov	byte [LEFT], 1
	mov	al, 0x5a
	out	0x21, al
	cmp	bl, 'k'
	je	.keyboard
	cmp	bl, 'f'
	je	.fast
	cmp	bl, 'c'
	je	.chips
	lidt	[none]				; 't', a triple fault
	ud2
.keyboard:
	mov	al, 0xfe
	out	0x64, al
	jmp	.end
.fast:	mov	al, 1
	out	0x92, al
	jmp	.end
.chips:	mov	dx, 0xcf9
	mov	al, 6
	out	dx, al
.end:	hlt
	jmp	.end

fresh:	db	"fresh", 10
stale:	db	"stale", 10
none:	times 8 db 0

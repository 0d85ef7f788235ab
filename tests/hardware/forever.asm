; Guests that never end, by the letter on the command line: each does one instruction again and again, with interrupts
; off (small letters) or on (large ones). p: pause. h: hlt. c: cpuid. i: in from a port that nobody has. w: wbinvd.
; s: rep stosb. Any other: the jump alone. Says its letter first.

%include "multiboot.inc"

	flat_start
	lidt	[idtr]
	last_letter
	mov	dx, 0x3f8
	mov	al, bl
	out	dx, al
	mov	al, 10
	out	dx, al
	cmp	bl, 'a'
	jae	.off
	or	bl, 0x20
	sti
.off:	cmp	bl, 'p'
	je	pauses
	cmp	bl, 'h'
	je	halts
	cmp	bl, 'c'
	je	asks
	cmp	bl, 'i'
	je	reads
	cmp	bl, 'w'
	je	writes_back
	cmp	bl, 's'
	je	stores
	jmp	$

pauses:	pause
	jmp	pauses
halts:	hlt
	jmp	halts
asks:	cpuid
	jmp	asks
reads:	in	al, 0x80
	jmp	reads
writes_back:
	wbinvd
	jmp	writes_back
stores:	mov	edi, 0x200000
	mov	ecx, 0x80000
	rep	stosb
	jmp	stores

	flat_tables 0x30

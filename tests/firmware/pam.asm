; A ROM of 64 KiB that is all the firmware there is: what PAM shows in each of 13 segments, and what becomes of
; writes. It prints the same on a bare PC with an i440FX. Each segment's line has a letter or digit for each step: what
; is read at its two ends behind a write there, `r`: the ROM's; a digit: what that step has written; `!`: another
; segment changed.

bits 16
org 0

STACK	equ 0x7c00
LOW	equ 0x1000		; a copy runs here: segments are taken away below the ROM's own code
HEAP	equ 0x500		; behind the BIOS data area
ROMS	equ HEAP		; by segment: its first and its last dword behind the reset
WROTE	equ HEAP + 128		; by step
SELF	equ HEAP + 160
LETTER	equ HEAP + 161
STACK_AT equ HEAP + 162

%macro	config 2		; register of the host bridge, byte
	mov	ecx, (%1) << 8 | (%2)
	call	set
%endmacro

start:	cli
	cld
	xor	ax, ax
	mov	ss, ax
	mov	es, ax
	mov	sp, STACK
	mov	word [es:6 * 4], undefined
	mov	word [es:6 * 4 + 2], LOW
	mov	ax, cs
	mov	ds, ax
	mov	ax, LOW
	mov	es, ax
	xor	si, si
	xor	di, di
	mov	cx, 0x8000
	rep	movsw
	jmp	LOW:begin

; BX = segment's number: its register and how far its bits are to be shifted, its paragraph in ES, its last dword in DI.
where:	mov	al, bl
	mov	cl, 4
	mov	ah, 0x59		; PAM0: the upper half is f0000-fffff
	mov	dx, 0xf000
	mov	di, 0xfffc
	cmp	bl, 12
	je	.end
	shr	al, 1
	mov	cx, bx
	and	cl, 1
	shl	cl, 2
	mov	ah, 0x5a
	add	ah, al
	mov	dx, bx
	shl	dx, 10
	add	dx, 0xc000
	mov	di, 0x3ffc
.end:	mov	es, dx
	ret

; CH = register, CL = byte.
set:	push	dx
	push	eax
	mov	dx, 0xcf8
	mov	eax, 0x80000000
	mov	al, ch
	and	al, 0xfc
	out	dx, eax
	mov	dl, ch
	and	dl, 3
	add	dl, 0xfc
	mov	al, cl
	out	dx, al
	pop	eax
	pop	dx
	ret

; AL = the letter that goes to COM1.
putc:	push	dx
	push	ax
	mov	dx, 0x3fd
.wait:	in	al, dx
	test	al, 0x20
	jz	.wait
	pop	ax
	mov	dx, 0x3f8
	out	dx, al
	pop	dx
	ret

undefined:
	mov	al, 'U'			; on its way here the CPU has pushed three words
	call	putc
	add	sp, 6
	ret				; of whoever called what was taken away

begin:	mov	ax, cs
	mov	ds, ax
	xor	ax, ax
	mov	fs, ax
	mov	dx, 0x3fb
	mov	al, 3
	out	dx, al
	xor	bx, bx			; all are ROM's behind a reset
.roms:	call	where
	mov	si, bx
	shl	si, 3
	mov	eax, [es:di]
	mov	[fs:ROMS + si], eax
	mov	eax, [es:0]
	mov	[fs:ROMS + si + 4], eax
	inc	bx
	cmp	bl, 13
	jb	.roms

	xor	bx, bx
.segment:
	xor	bp, bp			; the step
.step:	call	where
	mov	al, [ds:steps + bp]
	shl	al, cl
	mov	ch, ah
	mov	cl, al
	call	set
	mov	eax, 0x5a000000
	mov	ax, bp
	shl	ax, 4
	or	al, bl
	mov	si, bp
	shl	si, 2
	mov	[fs:WROTE + si], eax
	mov	[es:di], eax
	mov	[es:0], eax
	call	what
	mov	dl, al
	push	di
	xor	di, di
	call	what
	pop	di
	cmp	al, dl
	je	.both
	mov	dl, '?'
.both:	mov	al, dl
	call	others
	call	putc
	inc	bp
	cmp	bp, steps.end - steps
	jb	.step
	mov	al, 10
	call	putc
	inc	bx
	cmp	bl, 13
	jb	.segment
	jmp	inside

; What is at ES:DI: AL = 'r', a step's digit, or '?'.
what:	mov	eax, [es:di]
	mov	si, bx
	shl	si, 3
	test	di, di
	jnz	.there
	add	si, 4
.there:	cmp	eax, [fs:ROMS + si]
	je	.rom
	xor	si, si
.next:	cmp	eax, [fs:WROTE + si]
	je	.step
	add	si, 4
	cmp	si, (steps.end - steps) * 4
	jb	.next
	mov	al, '?'
	ret
.rom:	mov	al, 'r'
	ret
.step:	shr	si, 2
	mov	ax, si
	add	al, '1'
	ret

; AL = '!' if one of the other segments has changed.
others:	push	bx
	push	di
	push	es
	mov	[fs:SELF], bl
	mov	[fs:LETTER], al
	xor	bx, bx
.next:	cmp	bl, [fs:SELF]
	je	.same
	call	where
	mov	si, bx
	shl	si, 3
	mov	eax, [es:di]
	cmp	eax, [fs:ROMS + si]
	je	.same
	mov	byte [fs:LETTER], '!'
.same:	inc	bx
	cmp	bl, 13
	jb	.next
	mov	al, [fs:LETTER]
	pop	es
	pop	di
	pop	bx
	ret

; From ROM, RAM, RAM that is protected, and RAM that is taken away below the code.
inside:	config	0x59, 0
	call	0xf000:from_rom
	config	0x59, 0x30
	mov	si, 0			; the copy, with another mark
	xor	di, di
	mov	ax, 0xf000
	mov	es, ax
	mov	cx, 0x4000
	rep	movsd
	mov	byte [es:from_rom.mark + 1], 'R'
	mov	byte [es:flip.mark + 1], 'R'
	call	0xf000:from_rom
	config	0x59, 0x10
	call	0xf000:from_rom
	call	0xf000:flip
	config	0x59, 0x30
	call	0xf000:flip
	config	0x59, 0
	mov	al, 10
	call	putc

; Where there is no ROM at all: what is behind the flip is whatever nobody drives, so this is not for the bare machine.
	cmp	byte [only_here], 0
	je	strings
	config	0x5c, 0x33
	mov	ax, 0xd000
	mov	es, ax
	mov	si, flip
	xor	di, di
	mov	cx, flip.end - flip
	rep	movsb
	mov	byte [es:flip.register - flip - 4], 0x5c
	mov	byte [es:flip.port - flip - 2], 0xfc
	push	.back			; `undefined` returns there
	jmp	0xd000:0
.back:	mov	al, 10
	call	putc

; Writes by strings, pushes, exchanges, bits, and over the end of a segment: e3ffc-e4003, RAM below and protected above.
strings:
	config	0x5e, 0x33
	mov	ax, 0xe000
	mov	es, ax
	xor	di, di
	mov	cx, 0x4000
	mov	eax, 0x11111111
	rep	stosd			; 64 KiB: what is behind e8000 is ROM
	config	0x5e, 0x13
	mov	di, 0x3ffe
	mov	dword [es:di], 0x22222222
	mov	di, 0x3ff1
	mov	cx, 9
	mov	eax, 0x33333333
	rep	stosd
	mov	al, 0x44
	xchg	[es:0x4100], al
	call	hex
	lock add dword [es:0x4104], 0x01010101
	bts	dword [es:0x4108], 2
	mov	eax, 0x11111111
	mov	edx, 0x55555555
	lock cmpxchg [es:0x410c], edx
	not	word [es:0x4110]
	mov	[fs:STACK_AT], sp	; a stack that does not keep what is pushed
	mov	ax, 0xe400
	mov	ss, ax
	mov	sp, 0x200
	push	dword 0x66666666
	pusha
	popa
	pop	ebx
	xor	ax, ax
	mov	ss, ax
	mov	sp, [fs:STACK_AT]
	mov	eax, ebx
	call	hex
	xor	bx, bx			; a sum of all that is read in e0000-e7fff
	xor	esi, esi
	xor	eax, eax
.sum:	add	eax, [es:si]
	rol	eax, 1
	add	si, 4
	cmp	si, 0x8000
	jb	.sum
	call	hex
	mov	eax, [es:0x3ffc]
	call	hex
	mov	eax, [es:0x4000]
	call	hex
	config	0x5e, 0
	mov	al, 10
	call	putc

; The disk by its ports, from real mode: a sector into ROM, one out of ROM, and DMA to either.
	mov	ax, 0xf000
	mov	es, ax
	mov	al, 0x20
	mov	ecx, 0
	call	command
	mov	dx, 0x1f0
	mov	di, 0x100
	mov	cx, 256
	rep	insw			; nowhere
	mov	al, 0x30
	mov	ecx, 5
	call	command
	mov	dx, 0x1f0
	push	ds
	push	es
	pop	ds
	mov	si, 0x200
	mov	cx, 256
	rep	outsw
	pop	ds
	mov	al, 0x20
	mov	ecx, 5
	call	command
	mov	ax, 0x2000
	mov	es, ax
	xor	di, di
	mov	dx, 0x1f0
	mov	cx, 256
	rep	insw
	xor	si, si
	mov	ax, 0xf000
	mov	gs, ax
.same:	mov	eax, [gs:si + 0x200]
	cmp	eax, [es:si]
	jne	.differs
	add	si, 4
	cmp	si, 512
	jb	.same
	mov	al, 'D'
	call	putc
.differs:
	mov	al, 0x20		; beyond its end
	mov	ecx, 0x0ffffff
	call	command
	mov	dx, 0x1f7
	in	al, dx
	and	eax, 1
	call	hex
	mov	al, 10
	call	putc

over:	mov	al, 0
	out	0xf4, al
	cli
.halt:	hlt
	jmp	.halt

; AL = command, ECX = sector.
command:
	push	ax
	mov	dx, 0x1f7
.last:	in	al, dx			; a sector that was written may still be on its way
	test	al, 0x80
	jnz	.last
	mov	dx, 0x1f2
	mov	al, 1
	out	dx, al
	inc	dx
	mov	al, cl
	out	dx, al
	inc	dx
	mov	al, ch
	out	dx, al
	inc	dx
	shr	ecx, 16
	mov	al, cl
	out	dx, al
	inc	dx
	mov	al, 0xe0
	out	dx, al
	inc	dx
	pop	ax
	out	dx, al
.busy:	in	al, dx
	test	al, 0x80
	jnz	.busy
	ret

; EAX as eight digits and a blank.
hex:	push	cx
	mov	cx, 8
.next:	rol	eax, 4
	push	eax
	and	al, 15
	add	al, '0'
	cmp	al, '9'
	jbe	.put
	add	al, 39
.put:	call	putc
	pop	eax
	loop	.next
	mov	al, ' '
	call	putc
	pop	cx
	ret

; Called in f000, whatever is there: CPUID exits, and the CPU may not say where its end is.
from_rom:
	xor	eax, eax
	cpuid
.mark:	mov	al, 'r'
	jmp	far_putc

; PAM0 (or another one) becomes 0: what is behind the jump is what the ROM has there.
flip:	mov	dx, 0xcf8
	mov	eax, 0x80000058
.register:
	out	dx, eax
	mov	dx, 0xcfd
.port:	xor	al, al
	out	dx, al
	jmp	.mark
.mark:	mov	al, 'r'
	jmp	far_putc
.end:

far_putc:
	mov	ah, al
	mov	dx, 0x3fd
.wait:	in	al, dx
	test	al, 0x20
	jz	.wait
	mov	dx, 0x3f8
	mov	al, ah
	out	dx, al
	retf

steps:	db	3, 0, 1, 3, 2, 1, 0
.end:
only_here: db HERE

	times 0xfff0 - ($ - $$) db 0x90
	jmp	0xf000:start
	times 0x10000 - ($ - $$) db 0

; A segment whose addresses wrap, as the C library of a 32-bit Linux uses one for each thread: its base is in the middle
; of memory, its limit 4 GiB, and variables lie before the base, at offsets like -16. Zeno cuts such a segment below its
; window, so on a machine that checks limits these accesses fault, and are done for the guest.

CODE	equ	0x08
DATA	equ	0x10
THREAD	equ	0x18

section .text
global guest_main
extern console_init, print_hex, put
guest_main:
	push	ebx
	push	esi
	call	console_init
	cli
	mov	eax, thread
	mov	[gdt.thread + 2], ax
	shr	eax, 16
	mov	[gdt.thread + 4], al
	mov	[gdt.thread + 7], ah
	lgdt	[gdt.pointer]
	jmp	CODE:.on
.on:	mov	eax, DATA
	mov	ds, ax
	mov	es, ax
	mov	fs, ax
	mov	ss, ax
	mov	eax, THREAD
	mov	gs, ax

	mov	ebx, [gs:-16]			; below its base
	call	show
	mov	dword [gs:-12], 0x22222222
	mov	esi, -8
	add	dword [gs:esi], 0x11111111
	mov	ebx, [before + 4]
	call	show
	mov	ebx, [before + 8]
	call	show
	mov	ebx, [gs:0]			; at it, and past it
	add	ebx, [gs:esi + 12]
	call	show
	xor	eax, eax
	pop	esi
	pop	ebx
	ret

show:
	push	ebx
	call	print_hex
	push	10
	call	put
	add	esp, 8
	ret

section .data
	align	8
gdt:	dq	0
	dq	0x00cf9b000000ffff
	dq	0x00cf93000000ffff
.thread: dq	0x00cf93000000ffff
.pointer:
	dw	$ - gdt - 1
	dd	gdt

	align	16
before:	dd	0x11110000, 0, 0x22222222, 0
thread:	dd	0x33330000, 0x00003333

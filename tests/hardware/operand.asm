; What the CPU leaves to the host it must refuse as the CPU does: operands in memory of instructions that exit, of ports
; and of no memory. For each try the error code of its #PF, `G` for #GP, `.` for none; `-` where CPUID lacks SMAP.

%include "hardware/long.inc"

TABLE	equ PML4 + 0x5000		; of 4 KiB pages, from 4 MiB on
NOWHERE	equ 0x20000000			; where is no RAM
AC	equ 1 << 18
SMAP	equ 1 << 21
FS_BASE	equ 0xc0000100

; The page of CR4.SMAP, EFLAGS, FS's base, RSI, RDI, the code's name
%macro	TRY 6
	dq	%1, %2, %3, %4, %5
	dd	%6, 0
%endmacro

	long_mode 13, gp, 1

	mov	ebx, IDT
	mov	eax, pf
	mov	[rbx + 14 * 16], ax
	mov	word [rbx + 14 * 16 + 2], 8
	mov	ax, 0x8e01			; on a stack of its own
	mov	[rbx + 14 * 16 + 4], eax
	lidt	[wider]
	or	byte [PML4], 4
	or	byte [PML4 + 0x1000], 4
	mov	dword [PML4 + 8], PML4 + 0x1083		; bit 7, where there is no page: 8000000000
	mov	dword [PML4 + 0x1008], 0x2083		; 1 GiB that is not aligned: 40000000
	mov	dword [PML4 + 0x2010], TABLE + 7
	mov	dword [PML4 + 0x2018], 0x602083		; 2 MiB that are not aligned: 600000
	mov	dword [PML4 + 0x2000 + 8 * (NOWHERE >> 21)], NOWHERE | 0x83
	mov	dword [TABLE], 0x400007			; a user's
	mov	dword [TABLE + 8], 0x401003
	mov	dword [TABLE + 12], 1 << 19		; beyond the CPU's addresses
	mov	dword [TABLE + 16], 0x402003
	mov	dword [TABLE + 20], 1 << 31		; NX, with NXE off
	mov	dword [TABLE + 24], 0x403001		; to be read
	mov	dword [TABLE + 32], 0x404003
	mov	rax, cr0
	or	eax, 1 << 16				; WP
	mov	cr0, rax
	mov	eax, 7
	xor	ecx, ecx
	cpuid
	mov	r12d, ebx
	mov	ebp, tries
next:	mov	esp, 0x2ff000
	cmp	ebp, tries.end
	jae	over
	cmp	qword [rbp], 0
	je	.has
	bt	r12d, 20
	jc	.has
	mov	al, '-'
	jmp	say
.has:	mov	rax, cr4
	and	eax, ~SMAP
	or	rax, [rbp]
	mov	cr4, rax
	mov	ecx, FS_BASE
	mov	eax, [rbp + 16]
	mov	edx, [rbp + 20]
	wrmsr
	mov	rsi, [rbp + 24]
	mov	rdi, [rbp + 32]
	mov	edx, 0x80
	mov	rax, [rbp + 40]
	push	qword [rbp + 8]
	popf
	call	rax
	mov	al, '.'
	jmp	say

gp:	mov	al, 'G'
	jmp	back
pf:	pop	rax
	test	al, 8
	jz	.digit
	and	al, ~1				; QEMU 7.2 says RSVD without P
.digit:	add	al, '0'
	cmp	al, '9'
	jbe	back
	add	al, 'a' - '9' - 1
back:
say:	push	2
	popf
	mov	ah, al
	mov	dx, 0x3fd
.busy:	in	al, dx
	test	al, 0x20			; THRE
	jz	.busy
	mov	al, ah
	mov	dx, 0x3f8
	out	dx, al
	cmp	al, 10
	je	.exit
	add	ebp, 48
	jmp	next
.exit:	xor	eax, eax
	out	0xf4, al
	hlt
over:	mov	al, 10
	jmp	say

out_:	outsb
	ret
outs_:	mov	ecx, 2
	rep outsw
	ret
in_:	insb
	ret
far_:	fs outsb
	ret
move:	movsb
	ret
moves:	movsq
	ret
read:	mov	al, [rsi]
	ret
add_:	add	[rdi], rax
	ret
push_:	mov	rsp, rdi			; its stack is the try's
	push	qword [rsi]
	mov	esp, 0x2ff000 - 8
	ret

%macro	EACH 3					; CR4, EFLAGS, address: of all kinds
	TRY	%1, %2, 0, %3, 0, out_
	TRY	%1, %2, 0, 0, %3, in_
	TRY	%1, %2, 0, NOWHERE, %3, move
	TRY	%1, %2, 0, %3, NOWHERE, move
	TRY	%1, %2, 0, NOWHERE, %3 + 512, push_
%endmacro

section .data align=8
tries:	EACH	0, 2, 0x404000
	EACH	0, 2, 0x400000
	EACH	SMAP, 2, 0x400000
	EACH	SMAP, 2 | AC, 0x400000
	EACH	SMAP, 2, 0x404000
	EACH	0, 2, 0x401000
	EACH	0, 2, 0x402000
	EACH	0, 2, 0x403000
	EACH	0, 2, 0x405000
	EACH	0, 2, 0x600000
	EACH	0, 2, 0x40000000
	EACH	0, 2, 0x8000000000
	TRY	0, 2, 0, 0x800000000000, 0, out_
	TRY	0, 2, 0, 0, 0x800000000000, in_
	TRY	0, 2, 0, NOWHERE, 0x800000000000, move
	TRY	0, 2, 0, 0x800000000000, NOWHERE, move
	TRY	SMAP, 2, 0, 0x400000, 0, read
	TRY	SMAP, 2, 0, 0x404fff, 0, outs_	; no page behind it
	TRY	0, 2, 0, NOWHERE, 0x404ffc, moves
	TRY	0, 2, 0, NOWHERE, 0x400ffc, moves
	TRY	0, 2, 0xffff800000000000, 0x800000404000, 0, far_
	TRY	0, 2, 0x7fffffff0000, 0x20000, 0, far_
	TRY	0, 2, 0x7fffffff0000, -0x7fffffff0000 + 0x404000, 0, far_
	TRY	0, 2, 0, -1, 0, out_
.end:
wider:	dw	15 * 16 - 1
	dq	IDT

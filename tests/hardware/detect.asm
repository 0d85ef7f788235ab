; General detect (SDM 3B 17.2.4 "Debug Control Register (DR7)"): while DR7.GD is set, a move to or from a debug register
; is #DB in front of it, with DR6.BD, and the handler of any #DB finds GD clear. Tries four moves, a breakpoint. For
; each #DB: `B` with BD, `b` without; `C` if GD is clear, `c` if not; `F` if it is a fault, `T` if it says that the move
; is done. `R` if DR0 has kept its value.

%include "multiboot.inc"

GD	equ	1 << 13
BD	equ	1 << 13				; of DR6
VALUE	equ	0x00123456

%macro	SAY 1
	push	eax
	push	edx
	mov	dx, 0x3fd
%%busy:	in	al, dx
	test	al, 0x20			; THRE
	jz	%%busy
	mov	dx, 0x3f8
	mov	al, %1
	out	dx, al
	pop	edx
	pop	eax
%endmacro

%macro	DETECTED 1+
	mov	esi, %%it
	mov	edi, %%behind
	mov	ecx, GD | 0x400
	mov	dr7, ecx
%%it:	%1
%%behind:
%endmacro

	flat_start
	idt_gate 1, debug
	lidt	[idtr]
	mov	eax, VALUE
	mov	dr0, eax
	xor	eax, eax
	DETECTED mov eax, dr0
	DETECTED mov dr0, eax
	DETECTED mov eax, dr7
	DETECTED mov eax, dr4			; DR6, for CR4.DE is 0
	mov	ebx, dr0
	or	ebx, eax
	cmp	ebx, VALUE
	jne	.break
	SAY	'R'
.break:	mov	esi, .here
	mov	edi, .end
	mov	dr0, esi
	mov	ecx, GD | 0x402			; G0: execution
	mov	dr7, ecx
.here:	nop
.end:	SAY	10
	xor	eax, eax
	out	0xf4, al
	hlt

debug:	push	ebx
	mov	ebx, dr6
	test	ebx, BD
	jz	.no_bd
	SAY	'B'
	jmp	.gd
.no_bd:	SAY	'b'
.gd:	mov	ebx, dr7
	test	ebx, GD
	jz	.clear
	SAY	'c'
	jmp	.back
.clear:	SAY	'C'
.back:	xor	ebx, ebx
	mov	dr7, ebx
	mov	dr6, ebx
	pop	ebx
	cmp	[esp], esi
	mov	[esp], edi
	jne	.trap
	SAY	'F'
	iret
.trap:	SAY	'T'
	iret

	flat_tables 2

; A static program of 32 bits for Linux, an ELF file whole (nasm -f bin): it writes by int 0x80, and by the way that its
; kernel offers in the vdso (AT_SYSINFO), and ends with STATUS.

bits 32
	org	0x10000
SYS_EXIT	equ	1
SYS_WRITE	equ	4
AT_SYSINFO	equ	32

	db	0x7f, "ELF", 1, 1, 1	; 32 bits, little endian
	times 9	db 0
	dw	2, 3			; executable, of the 386
	dd	1, start, parts - $$, 0, 0
	dw	52, 32, 2, 0, 0, 0
parts:	dd	1, 0, $$, $$, end - $$, end - $$, 5, 4096
	dd	0x6474e551, 0, 0, 0, 0, 0, 6, 4	; its stack is no code

%macro WRITE 1
	mov	eax, SYS_WRITE
	mov	ebx, 1
	mov	ecx, %1
	mov	edx, %1.end - %1
%endmacro

start:	WRITE	gate
	int	0x80
	pop	eax			; argc; behind argv and the environment lies the auxiliary vector
	lea	esi, [esp + 4 * eax + 4]
.words:	lodsd
	test	eax, eax
	jnz	.words
.pairs:	lodsd
	mov	edx, eax
	lodsd
	test	edx, edx
	jz	.none
	cmp	edx, AT_SYSINFO
	jne	.pairs
	mov	esi, eax
	WRITE	vdso
	call	esi
	mov	eax, SYS_EXIT
	mov	ebx, STATUS
	call	esi
.none:	mov	eax, SYS_EXIT
	mov	ebx, 1
	int	0x80

gate:	db	"by int 0x80", 10
.end:
vdso:	db	"by its vdso", 10
.end:
end:

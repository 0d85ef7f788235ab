; A proof for handouts/emulators.md: the flags that a fault saves, and what LAR gives. A multiboot kernel.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

MULTIBOOT equ 0x1badb002
CODE	equ 0x08
DATA	equ 0x10
VEC_UD	equ 6
COM1	equ 0x3f8
LCR	equ COM1 + 3
LSR	equ COM1 + 5
THRE	equ 0x20
TEMT	equ 0x40

bits 32
section .text
	align	4
	dd	MULTIBOOT, 0, -MULTIBOOT

global _start
_start:	mov	esp, stack_top
	lgdt	[gdtr]
	jmp	CODE:.flat
.flat:	mov	eax, DATA
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	mov	eax, handler		; an interrupt gate (SDM 3A 6.11 "IDT Descriptors")
	mov	[idt + 8 * VEC_UD], ax
	mov	word [idt + 8 * VEC_UD + 2], CODE
	mov	word [idt + 8 * VEC_UD + 4], 0x8e00
	shr	eax, 16
	mov	[idt + 8 * VEC_UD + 6], ax
	lidt	[idtr]
	mov	dx, LCR
	mov	al, 3			; eight data bits: the BIOS of Bochs leaves five
	out	dx, al
	ud2

; esp -> | eip | cs | eflags |
handler:
	mov	esi, flags_text
	call	print
	mov	eax, [esp + 8]
	call	print_hex
	mov	esi, lar_text
	call	print
	mov	ecx, CODE
	lar	eax, ecx
	call	print_hex
	mov	esi, newline
	call	print
	mov	dx, LSR
.drain:	in	al, dx			; Bochs loses what has not left the transmitter
	test	al, TEMT
	jz	.drain
	mov	al, 0
	out	0xf4, al		; ends QEMU
	mov	esi, shutdown
	mov	dx, 0x8900		; ends Bochs
.off:	lodsb
	out	dx, al
	cmp	byte [esi], 0
	jne	.off
	cli
	hlt

; eax, eight digits. Destroys ecx, edx.
print_hex:
	mov	ecx, 8
.digit:	rol	eax, 4
	push	eax
	and	eax, 15
	mov	al, [digits + eax]
	call	put
	pop	eax
	loop	.digit
	ret

; The string at esi.
print:	lodsb
	test	al, al
	jz	.end
	call	put
	jmp	print
.end:	ret

put:	push	eax
	mov	dx, LSR
.wait:	in	al, dx
	test	al, THRE
	jz	.wait
	pop	eax
	mov	dx, COM1
	out	dx, al
	ret

section .rodata
flags_text: db	"eflags that #UD saved: ", 0
lar_text: db	10, "lar of a flat code segment: ", 0
newline: db	10, 0
digits:	db	"0123456789abcdef"
shutdown: db	"Shutdown", 0
	align	8
gdt:	dq	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:	dw	23
	dd	gdt
idtr:	dw	8 * (VEC_UD + 1) - 1
	dd	idt

section .bss
	alignb	8
idt:	resb	8 * (VEC_UD + 1)
	alignb	16
	resb	4096
stack_top:

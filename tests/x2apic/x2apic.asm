; The local APIC's x2APIC mode: the ways to it and from it, which of its MSRs can be read and which bits of each
; written, and IPIs to itself (tests/x2apic.t). `-` is #GP.

%include "multiboot.inc"

BASE	equ 0x1b
X2	equ 0x400
ON	equ 0x800
TABLE	equ 0x208000				; the IDT

section .text
global _start
_start:	mov	esp, 0x2ff000
	lgdt	[gdtr]
	jmp	8:.flat
.flat:	mov	ax, 16
	mov	ds, ax
	mov	es, ax
	mov	ss, ax
	mov	edx, protection
	mov	eax, 13
	call	gate
	mov	edx, came
	mov	eax, 0x41
	call	gate
	mov	edx, spurious
	mov	eax, 0xff
	call	gate
	lidt	[idtr]
	mov	al, 0xff			; nothing of the 8259s'
	out	0x21, al
	out	0xa1, al

	mov	esi, ways			; each is tried from where the last one led
.way:	lodsd
	cmp	eax, -1
	je	.maps
	mov	ebx, eax
	mov	ecx, BASE
	rdmsr
	and	eax, ~(X2 | ON)
	or	eax, ebx
	call	write
	mov	ecx, BASE
	call	read
	mov	al, 10
	call	put
	jmp	.way

.maps:	mov	edi, 0x800			; each MSR, read and written as it was; then bit by bit
.msr:	mov	eax, edi
	call	hex
	cmp	edi, 0x83f
	jne	.look
	mov	ecx, 0x80f			; off: its IPIs go nowhere
	mov	eax, 0xff
	xor	edx, edx
	wrmsr
.look:	mov	ecx, edi
	cmp	edi, 0x803			; versions differ
	je	.bits
	cmp	edi, 0x839
	je	.bits
	call	read
.bits:	cmp	edi, 0x80d
	je	.next
	cmp	edi, 0x830
	je	.icr
	mov	ebx, 1				; bits of the lower half; 0 behind them
.bit:	mov	eax, ebx
	xor	edx, edx
	mov	ecx, edi
	cmp	edi, 0x80b
	jne	.try
	cmp	ebx, 1				; an EOI of 0, once
	jne	.try
	xor	eax, eax
.try:	call	tried
	shl	ebx, 1
	jnz	.bit
	mov	edx, 1
	xor	eax, eax
	call	tried
.next:	mov	al, 10
	call	put
	inc	edi
	cmp	edi, 0x840
	jne	.msr
	jmp	.ipis
.icr:	mov	ebx, 1 << 12			; what can't be: else it would send
	mov	edx, 0
	jmp	.bad
.bad:	mov	eax, ebx
	mov	ecx, edi
	call	tried
	shl	ebx, 1
	cmp	ebx, 1 << 14
	jne	.bad
	jmp	.next

.ipis:	mov	ecx, 0x80f
	mov	eax, 0x1ff
	xor	edx, edx
	wrmsr
	mov	ecx, 0x808
	xor	eax, eax
	wrmsr
	sti
	mov	esi, sends
.send:	mov	dword [count], 0
	lodsd
	mov	ecx, eax
	test	eax, eax
	jz	.end
	lodsd
	mov	edx, eax
	lodsd
	wrmsr
	mov	ecx, 100
.wait:	loop	.wait
	mov	eax, [count]
	call	hex
	jmp	.send
.end:	cli
	mov	al, 10
	call	put
	mov	ecx, BASE			; and off
	rdmsr
	and	eax, ~(X2 | ON)
	call	write
	mov	ecx, BASE
	call	read
	mov	ecx, 0x802
	call	read
	mov	eax, 1
	cpuid
	mov	eax, edx
	shr	eax, 9
	and	eax, 1
	call	hex
	mov	al, 10
	call	put
	xor	eax, eax
	out	0xf4, al
	cli
	hlt

gate:	lea	edi, [TABLE + 8 * eax]		; its handler is at edx
	mov	[edi], dx
	mov	word [edi + 2], 8
	mov	word [edi + 4], 0x8e00
	shr	edx, 16
	mov	[edi + 6], dx
	ret

protection:
	mov	dword [refused], 1		; rdmsr, wrmsr: two bytes each
	add	dword [esp + 4], 2
	add	esp, 4
	iret

came:	inc	dword [count]
	push	eax
	push	ecx
	push	edx
	mov	ecx, 0x80b
	xor	eax, eax
	xor	edx, edx
	wrmsr
	pop	edx
	pop	ecx
	pop	eax
spurious:
	iret

read:	mov	dword [refused], 0		; MSR ecx
	rdmsr
	cmp	dword [refused], 0
	jne	no
	push	eax
	mov	eax, edx
	call	hex
	pop	eax
	jmp	hex
write:	mov	dword [refused], 0
	wrmsr
	mov	al, '+'
	cmp	dword [refused], 0
	je	put
no:	mov	al, '-'
	jmp	put
tried:	mov	dword [refused], 0
	wrmsr
	mov	al, '1'
	cmp	dword [refused], 0
	je	put
	mov	al, '.'
	jmp	put

hex:	push	ecx
	push	ebx
	mov	ebx, eax
	mov	al, ' '
	call	put
	mov	ecx, 8
.digit:	rol	ebx, 4
	mov	eax, ebx
	and	eax, 15
	mov	al, [digits + eax]
	call	put
	loop	.digit
	pop	ebx
	pop	ecx
	ret

put:	push	edx
	push	eax
	mov	dx, 0x3fd
.full:	in	al, dx
	test	al, 0x20
	jz	.full
	pop	eax
	mov	dx, 0x3f8
	out	dx, al
	pop	edx
	ret

digits:	db	"0123456789abcdef"
align 4
;	the modes that are asked for, one behind the other
ways:	dd	ON, X2, ON, ON | X2, ON, X2, ON | X2, -1
;	MSR, upper and lower half: to itself by SELF IPI, shorthand, ID, everybody, set, another set, another ID
sends:	dd	0x83f, 0, 0x41, 0x830, 0, 0x40041, 0x830, 0, 0x41, 0x830, -1, 0x41, 0x830, 1, 0x841, 0x830, 2, 0x841
	dd	0x830, 0x10001, 0x841, 0x830, 7, 0x41, 0
refused	dd	0
count	dd	0
gdt:	dq	0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr:	dw	23
	dd	gdt
idtr:	dw	0x7ff
	dd	TABLE

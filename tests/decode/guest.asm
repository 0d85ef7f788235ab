; The CPU's side of tests/decode-machine.t: a bare guest that tries each instruction of a table (tests/decode/table.c).
;
; An instruction lies with its last byte at the end of a page behind which nothing is mapped. A byte less
; than the decoder counts, and the CPU must miss it: a page fault at the boundary, by an instruction that
; has not begun. With all of its bytes it must not. What the decoder refuses must be #UD. It is all in ring
; 3, where all addresses but the kernel's lead to pages of int3, for QEMU reads the operand of what it then
; refuses. #UD and #GP tell nothing of a length: a CPU may know them before it has read all. A tick ends
; what goes on and on.
;
; It prints a line for each that differs:  bytes, the decoder's length, what the CPU did with how many.

bits 32
KCODE	equ 0x08
KDATA	equ 0x10
UCODE	equ 0x1b
UDATA	equ 0x23
UCODE16	equ 0x2b
TSS_SEL	equ 0x30
PAGE_AT	equ 0x40000000			; where the instruction's page is; 16-bit code has it at 0x8000
BOUNDARY equ PAGE_AT + 0x1000
NOWHERE	equ 0x50000000
JUNK	equ 0x2000000			; physical: 4 MiB that all other addresses lead to
MANY	equ 20				; lines that are printed

extern print, print_hex, put, console_init, outb

section .bss
	alignb	4096
pd:	resb	4096
pt:	resb	4096			; of the page
page:	resb	4096
low_pt:	resb	4096 * 4		; the kernel's 16 MiB
kstack:	resb	4096
kstack_top:
tss:	resb	104
idt:	resb	8 * 32
saved_esp: resd	1
vector:	resd	1
at_eip:	resd	1
at_cr2:	resd	1
count:	resd	1
bad:	resd	1

section .data
	align	8
gdt:	dq	0
	dq	0x00cf9b000000ffff
	dq	0x00cf93000000ffff
	dq	0x00cffb000000ffff	; UCODE
	dq	0x00cff3000000ffff	; UDATA
	dq	0x3f00fbff8000ffff	; UCODE16: base 3fff8000, limit ffff
	dq	0			; TSS_SEL
gdtr:	dw	7 * 8 - 1
	dd	gdt
idtr:	dw	8 * 32 - 1
	dd	idt

section .text
%macro STUB 1
h%1:
%if !(%1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17)
	push	0
%endif
	push	%1
	jmp	ended
%endmacro
%assign n 0
%rep 32
	STUB	n
%assign n n + 1
%endrep

; esp -> | vector | error code | eip | ...
ended:	mov	eax, KDATA
	mov	ds, eax
	mov	es, eax
	cld
	pop	dword [vector]
	add	esp, 4
	pop	dword [at_eip]
	mov	al, 0x20			; end of interrupt, should it have been one
	out	0x20, al
	mov	eax, cr2
	mov	[at_cr2], eax
	mov	esp, [saved_esp]
	popad
	ret

handlers:
%assign n 0
%rep 32
	dd	h %+ n
%assign n n + 1
%endrep

; try(esi = record, ecx = bytes of it): vector, at_eip less the instruction's own address, at_cr2
try:	pushad
	mov	[saved_esp], esp
	push	ecx				; int3 where a jump may lead
	mov	edi, page + 4096 - 160
	mov	eax, 0xcccccccc
	mov	ecx, 160 / 4
	rep stosd
	pop	ecx
	lea	edi, [page + 4096]
	sub	edi, ecx
	push	ecx
	push	esi
	inc	esi
	rep movsb
	pop	esi
	pop	ecx
	mov	edx, 0x1000
	sub	edx, ecx			; the offset in the page
	mov	eax, UDATA
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	push	UDATA
	push	NOWHERE
	push	0x202
	test	byte [ss:esi], 0x80
	jnz	.short
	push	UCODE
	add	edx, PAGE_AT
	jmp	.go
.short:	push	UCODE16
	add	edx, 0x8000
.go:	push	edx
	mov	eax, NOWHERE
	mov	ebx, eax
	mov	ecx, 1
	mov	edx, eax
	mov	esi, eax
	mov	edi, eax
	mov	ebp, eax
	iretd

; Whether the CPU wanted a byte more of the instruction that begins ecx bytes before the boundary: eax = 1
wanted:	xor	eax, eax
	cmp	dword [vector], 14
	jne	.no
	cmp	dword [at_cr2], BOUNDARY
	jne	.no
	mov	edx, 0x1000
	sub	edx, ecx
	sub	edx, [at_eip]
	and	edx, 0xfff
	jnz	.no
	inc	eax
.no:	ret

; differs(esi, ecx = bytes that were given); a tick says nothing
differs:
	cmp	dword [vector], 8
	jne	.really
	ret
.really:
	pushad
	inc	dword [bad]
	cmp	dword [bad], MANY
	ja	.quiet
	push	esi
	push	ecx
	mov	ebx, 4
.bytes:	mov	eax, [esi]
	bswap	eax
	push	eax
	call	print_hex
	add	esp, 4
	add	esi, 4
	dec	ebx
	jnz	.bytes
	mov	ebx, 4
	pop	eax
	push	dword [at_cr2]
	push	dword [at_eip]
	push	dword [vector]
	push	eax
.numbers:
	push	' '
	call	put
	add	esp, 4
	call	print_hex
	add	esp, 4
	dec	ebx
	jnz	.numbers
	push	10
	call	put
	add	esp, 4
	pop	esi
.quiet:	popad
	ret

; one(esi = record)
one:	inc	dword [count]
	movzx	ecx, byte [esi]
	and	ecx, 15
	test	byte [esi], 0x40
	jnz	.refused
	dec	ecx
	jz	.whole
	call	try
	cmp	dword [vector], 6		; #UD and #GP may come before the last byte is read
	je	.whole
	cmp	dword [vector], 13
	je	.whole
	call	wanted
	test	eax, eax
	jnz	.whole
	jmp	differs
.whole:	inc	ecx
	call	try
	call	wanted
	test	eax, eax
	jz	.good
	push	ecx
	mov	ecx, 15				; one that it refuses in the end has no length
	call	try
	pop	ecx
	cmp	dword [vector], 6
	je	.good
	jmp	differs
.refused:
	call	try
	cmp	dword [vector], 6
	je	.good
	cmp	dword [vector], 13		; ring 3 may not ask at all: mov from cr1
	je	.good
	jmp	differs
.good:	ret

global guest_main
guest_main:
	call	console_init
	mov	al, 0xfe			; IRQ 0 alone, vector 8 as the BIOS has it, ends an instruction that
	out	0x21, al			; jumps to itself
	mov	edi, low_pt
	mov	eax, 3
	mov	ecx, 4096
.low:	stosd
	add	eax, 4096
	loop	.low
	mov	edi, pd
	mov	eax, JUNK + 0x87
	mov	ecx, 1024
	rep stosd
	mov	edi, JUNK
	mov	eax, 0xcccccccc
	mov	ecx, 0x400000 / 4
	rep stosd
	xor	edi, edi			; 16-bit addresses
	mov	ecx, 0x10000 / 4
	rep stosd
	mov	ecx, 16
	mov	edi, low_pt
.user:	or	dword [edi], 4
	add	edi, 4
	loop	.user
	mov	dword [pd], low_pt + 7
	mov	dword [pd + 4], low_pt + 4096 + 3
	mov	dword [pd + 8], low_pt + 8192 + 3
	mov	dword [pd + 12], low_pt + 12288 + 3
	mov	dword [pd + (PAGE_AT >> 22) * 4], pt + 7
	mov	dword [pt], page + 7
	mov	eax, pd
	mov	cr3, eax
	mov	eax, cr4
	or	eax, 0x210			; large pages; SSE's instructions are the CPU's own
	mov	cr4, eax
	mov	eax, cr0
	or	eax, 0x80010000
	mov	cr0, eax
	mov	dword [tss + 4], kstack_top
	mov	dword [tss + 8], KDATA
	mov	word [tss + 102], 104
	mov	eax, tss
	mov	word [gdt + TSS_SEL], 103
	mov	[gdt + TSS_SEL + 2], ax
	shr	eax, 16
	mov	[gdt + TSS_SEL + 4], al
	mov	byte [gdt + TSS_SEL + 5], 0x89
	mov	[gdt + TSS_SEL + 7], ah
	lgdt	[gdtr]
	jmp	KCODE:.there
.there:	mov	eax, KDATA
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	mov	eax, TSS_SEL
	ltr	ax
	xor	ecx, ecx
.gates:	mov	eax, [handlers + ecx * 4]
	mov	[idt + ecx * 8], ax
	mov	word [idt + ecx * 8 + 2], KCODE
	mov	word [idt + ecx * 8 + 4], 0xee00
	shr	eax, 16
	mov	[idt + ecx * 8 + 6], ax
	inc	ecx
	cmp	ecx, 32
	jb	.gates
	lidt	[idtr]
	mov	esi, table
.next:	cmp	esi, table_end
	jae	.end
	call	one
	add	esi, 16
	jmp	.next
.end:	push	dword [bad]
	push	dword [count]
	call	print_hex
	add	esp, 4
	push	' '
	call	put
	add	esp, 4
	call	print_hex
	add	esp, 4
	push	10
	call	put
	add	esp, 4
	mov	eax, [bad]
	test	eax, eax
	setnz	al
	movzx	eax, al
	ret

section .rodata
	align	16
table:	incbin	"table.bin"
table_end:

section .note.GNU-stack noalloc noexec nowrite progbits

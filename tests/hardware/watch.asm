; A breakpoint on data in long mode. `l`: the frame of its own #DB, which is pushed onto the same stack each
; time, so that one follows the other and no instruction ever runs between: for ever (CVE-2015-8104). `p`: an
; operand of a push whose stack is not there, so that the breakpoint is met and the instruction exits for
; another reason. Says the letter, then K where it comes on, F for each #DB that reaches its handler.

bits 32
section .multiboot progbits alloc noexec nowrite align=4
	dd	0x1badb002, 0, -0x1badb002

PML4	equ 0x300000			; one page each: its table, the next one, the directory, the IDT, the TSS
IDT	equ PML4 + 0x3000
TSS	equ PML4 + 0x4000
FRAMES	equ 0x2f0000			; IST1
NOWHERE	equ 0x3000000			; beyond the guest's memory

section .data
align 8
gdt:	dq	0, 0x00af9b000000ffff, 0x00cf93000000ffff
	dq	0x0000893000000067 | (TSS & 0xffff) << 16, 0
gdtr:	dw	39
	dq	gdt
idtr:	dw	14 * 16 - 1
	dq	IDT

section .text
global _start
_start:
	mov	esp, 0x2ff000
	mov	esi, [ebx + 16]		; the command line, of which the last letter counts
.last:	lodsb
	test	al, al
	jz	.begin
	cmp	al, ' '
	je	.last
	mov	bl, al
	jmp	.last
.begin:	mov	edi, PML4
	xor	eax, eax
	mov	ecx, 0x5000 / 4
	rep stosd
	mov	dword [PML4], PML4 + 0x1003
	mov	dword [PML4 + 0x1000], PML4 + 0x2003
	mov	dword [PML4 + 0x2000], 0x83
	mov	dword [PML4 + 0x2008], 0x200083
	mov	dword [PML4 + 0x2010], NOWHERE & ~0x1fffff | 0x83
	mov	dword [IDT + 16], 8 << 16
	mov	eax, debug
	mov	[IDT + 16], ax
	mov	ax, 0x8e01		; IST1; above it stays the handler's upper half
	mov	[IDT + 16 + 4], eax
	mov	dword [TSS + 36], FRAMES
	mov	eax, cr4
	or	eax, 1 << 5
	mov	cr4, eax
	mov	eax, PML4
	mov	cr3, eax
	mov	ecx, 0xc0000080
	rdmsr
	or	eax, 1 << 8
	wrmsr
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax
	lgdt	[gdtr]
	jmp	8:.wide

bits 64
.wide:	mov	eax, 16
	mov	ss, eax
	mov	ds, eax
	mov	eax, 24
	ltr	ax
	lidt	[idtr]
	mov	al, bl
	call	say
	mov	eax, FRAMES - 8		; SS of the frame
	mov	dr0, rax
	mov	eax, 0x000b0402		; G0, eight bytes, reads and writes
	mov	dr7, rax
	cmp	bl, 'p'
	je	.push
	mov	rax, [abs FRAMES - 8]
	nop
	jmp	over
.push:	mov	esp, 0x400100
	push	qword [abs FRAMES - 8]
	mov	esp, 0x2ff000
over:	xor	eax, eax
	mov	dr7, rax
	mov	al, 'K'
	call	say
	mov	al, 10
	call	say
	mov	al, 0
	out	0xf4, al
	hlt

debug:	push	rax
	push	rdx
	mov	al, 'F'
	call	say
	pop	rdx
	pop	rax
	iretq

say:	mov	edx, 0x3f8
	out	dx, al
	ret

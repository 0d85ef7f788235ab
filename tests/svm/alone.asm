; Registers of long mode that the guest sets, with the CPU's leave or without: `p` clears CR4.PAE, which is #GP;
; `h` sets a high bit of CR3, which is #GP, too (under mmu=shadow: QEMU 7.2's CPU makes another exit of it);
; `n` sets CR0.NW without CD, which is #GP, too, and which QEMU 7.2 lets through. Says the letter, then F for a
; fault, K for none.

bits 32
section .multiboot progbits alloc noexec nowrite align=4
	dd	0x1badb002, 0, -0x1badb002

PML4	equ 0x300000			; one page each: its table, the next one, the directory, the IDT
IDT	equ PML4 + 0x3000

section .data
align 8
gdt:	dq	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdtr:	dw	23
	dd	gdt
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
	mov	ecx, 0x4000 / 4
	rep stosd
	mov	dword [PML4], PML4 + 0x1003
	mov	dword [PML4 + 0x1000], PML4 + 0x2003
	mov	dword [PML4 + 0x2000], 0x83
	mov	dword [PML4 + 0x2008], 0x200083
	mov	dword [IDT + 13 * 16], 8 << 16
	mov	eax, fault
	mov	[IDT + 13 * 16], ax
	mov	ax, 0x8e00		; above it stays the handler's upper half
	mov	[IDT + 13 * 16 + 4], eax
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
	lidt	[idtr]
	mov	al, bl
	call	say
	cmp	bl, 'h'
	je	.high
	cmp	bl, 'p'
	jne	.nw
	mov	rax, cr4
	and	eax, ~(1 << 5)
	mov	cr4, rax
	jmp	none
.high:	mov	rax, cr3
	bts	rax, 60
	mov	cr3, rax
	jmp	none
.nw:	mov	rax, cr0
	or	eax, 1 << 29
	mov	cr0, rax
none:	mov	al, 'K'
	jmp	over
fault:	mov	al, 'F'
over:	call	say
	mov	al, 10
	call	say
	mov	al, 0
	out	0xf4, al
	hlt

say:	mov	edx, 0x3f8
	out	dx, al
	ret

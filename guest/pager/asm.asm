; The instructions of guest/pager that C cannot say. All cdecl.

CODE	equ 0x08
DATA	equ 0x10
PF	equ 14

section .data
	align	8
gdt:	dq	0
	dq	0x00cf9b000000ffff	; CODE
	dq	0x00cf93000000ffff	; DATA
gdt_end:
gdtr:	dw	gdt_end - gdt - 1
	dd	gdt

section .bss
	align	8
idt:	resb	8 * (PF + 1)
idt_end:
idtr:	resb	6

section .text
extern page_fault

global load_tables
load_tables:
	lgdt	[gdtr]
	mov	eax, DATA
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	jmp	CODE:.here
.here:
	mov	eax, page_fault_stub
	mov	[idt + 8 * PF], ax
	mov	word [idt + 8 * PF + 2], CODE
	mov	word [idt + 8 * PF + 4], 0x8e00	; a 32-bit interrupt gate
	shr	eax, 16
	mov	[idt + 8 * PF + 6], ax
	mov	word [idtr], idt_end - idt - 1
	mov	dword [idtr + 2], idt
	lidt	[idtr]
	ret

; esp -> | edi esi ebp - ebx edx ecx eax | error | eip cs eflags
page_fault_stub:
	pusha
	cld
	push	dword [esp + 32]
	mov	eax, cr2
	push	eax
	call	page_fault
	add	esp, 8
	popa
	add	esp, 4
	iret

global paging_on
paging_on:
	mov	eax, [esp + 4]
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 0x80000000
	mov	cr0, eax
	jmp	.on
.on:
	ret

global load_cr3
load_cr3:
	mov	eax, [esp + 4]
	mov	cr3, eax
	ret

global flush_page
flush_page:
	mov	eax, [esp + 4]
	invlpg	[eax]
	ret

; Sleeps and is woken by the PIT for ever; the handler does nothing but acknowledge.
%include "common.inc"
VECTOR	equ 8				; the BIOS's mapping of IRQ 0; #DF does not happen here
main:
	mov edx, tick
	mov [idt + 8 * VECTOR], dx
	mov [idt + 8 * VECTOR + 2], cs
	mov word [idt + 8 * VECTOR + 4], 0x8e00
	shr edx, 16
	mov [idt + 8 * VECTOR + 6], dx
	lidt [idt_register]
	mov al, 0xfe
	out 0x21, al
	sti
.again:
	hlt
	jmp .again
tick:
	push eax
	mov al, 0x20
	out 0x20, al
	pop eax
	iretd

section .data
idt_register:
	dw 16 * 8 - 1
	dd idt

section .bss
align 8
idt:	resb 16 * 8

; Where a guest starts: a multiboot header (specification 0.6.96, section 3.1) and a stack.
;
; On entry EAX = 0x2badb002, EBX = the boot information, flat segments, paging and interrupts off; the same on
; the bare machine and on every engine.

MAGIC	equ 0x1badb002
FLAGS	equ 0x00000002			; wants the memory fields of the boot information

section .multiboot progbits alloc noexec nowrite align=4
	dd	MAGIC, FLAGS, -(MAGIC + FLAGS)

section .bss
	align	16
stack:	resb	16384
stack_top:

section .text
extern guest_main
extern guest_exit

; The stack when guest_main(magic, info) begins:  esp -> | return | magic | info |
global _start
_start:
	mov	esp, stack_top
	push	ebx
	push	eax
	call	guest_main
	push	eax			; its value is the exit code
	call	guest_exit

; void outb(uint32_t port, uint32_t value);  uint32_t inb(uint32_t port);
global outb
outb:	mov	edx, [esp + 4]
	mov	eax, [esp + 8]
	out	dx, al
	ret

global inb
inb:	mov	edx, [esp + 4]
	xor	eax, eax
	in	al, dx
	ret

; void halt(void): interrupts off for good. `cli` is a fault in ring 1, so nothing runs it before it must.
global halt
halt:	cli
	hlt
	jmp	halt

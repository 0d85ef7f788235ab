; A guest that sleeps: SLEEPS times to the 8254's next interrupt, each 50 ms, and then for ever, with
; every interrupt masked (FOREVER=1), or it ends with the number of its interrupts as its code. The
; clock goes on by itself, or strikes once (ONCE=1).
bits 32
section .text
global _start

%define PERIOD 59659	; of 1193182 Hz: 50 ms

	align 4
	dd 0x1badb002, 0, -0x1badb002

_start:	mov esp, stack_end
	lgdt [gdtr]
	lidt [idtr]
	jmp 8:.flat
.flat:	mov ax, 16
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov eax, ticked
	mov [idt + 0x20 * 8], ax
	shr eax, 16
	mov [idt + 0x20 * 8 + 6], ax
%macro put 2
	mov al, %2
	out %1, al
%endmacro
	put 0x20, 0x11
	put 0x21, 0x20
	put 0x21, 0x04
	put 0x21, 0x01
	put 0x21, 0xfe
%if ONCE
	put 0x43, 0x30
%else
	put 0x43, 0x34
%endif
	put 0x40, PERIOD & 0xff
	put 0x40, PERIOD >> 8
%if SLEEPS
	mov ecx, SLEEPS
.sleep:	sti
	hlt
	cli
	loop .sleep
%endif
	mov eax, [ticks]
%if FOREVER
	put 0x21, 0xff
	sti
	hlt
%endif
	out 0xf4, al
	jmp $

ticked:	inc dword [ticks]
	push eax
	put 0x20, 0x20
	pop eax
	iret

section .data
	align 8
gdt:	dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr:	dw $ - gdt - 1
	dd gdt
idtr:	dw 0x21 * 8 - 1
	dd idt
	align 8
idt:	times 0x21 dq 0x00008e0000080000
ticks:	dd 0
	times 1024 db 0
stack_end:

; The guest of main.c: sends a text to COM1, and ends itself.

%define COM1	0x3f8
%define EXIT	0xf4

section .rodata
global guest_begin, guest_end
bits 32
guest_begin:
	mov	dx, COM1
next:	lodsb				; esi: the program has set it
	test	al, al
	jz	.end
	out	dx, al
	jmp	next
.end:	mov	al, 0
	out	EXIT, al
	hlt
guest_end:

section .note.GNU-stack noalloc noexec nowrite progbits

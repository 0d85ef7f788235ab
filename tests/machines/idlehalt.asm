; HLT with interrupts on, but both PICs masked: nothing comes.
%include "common.inc"
main:
	mov al, 0xff
	out 0x21, al
	out 0xa1, al
	sti
.again:
	hlt
	jmp .again

; The smallest guest: one privileged instruction. Under te it is exit 1, "#GP at ..., cli" (Lab 1A, exercise 1.1);
; on the bare machine, and once exercise 1.4 is done, it ends in a dead halt.

section .text
global guest_main
guest_main:
	cli
.halt:	hlt
	jmp	.halt

; A proof for handouts/emulators.md: the flags behind a cmpxchg8b. It changes ZF alone (SDM 2A
; "CMPXCHG8B/CMPXCHG16B"), and NT comes by popf and iret only.

%include "handouts/proofs/proof.inc"

OPERAND	equ 0x4000			; NT's bit, for who takes an operand for flags

; The flags behind a popf, an addition, what the argument says, and a cmpxchg8b: in eax.
%macro	exchange 1
	mov	ecx, OPERAND
	xor	edx, edx
	push	edx
	popf				; all flags are known
	xor	eax, eax
	add	eax, ecx
	%1
	cmpxchg8b [number]
	pushf
	pop	eax
%endmacro

proof:	exchange nop
	say	"eflags behind cmpxchg8b: "
	exchange jmp $ + 2
	say	"the same behind a jump:  "
	push	dword 0			; whatever it was
	popf
	jmp	off

section .bss
	alignb	8
number:	resb	8

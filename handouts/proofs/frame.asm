; A proof for handouts/emulators.md: the flags that a fault saves, and what LAR gives.

%include "handouts/proofs/proof.inc"

VEC_UD	equ 6

proof:	gate	VEC_UD, handler
	ud2

; esp -> | eip | cs | eflags |
handler:
	mov	eax, [esp + 8]
	say	"eflags that #UD saved: "
	mov	ecx, CODE
	lar	eax, ecx
	say	"lar of a flat code segment: "
	jmp	off

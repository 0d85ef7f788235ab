; A proof for handouts/emulators.md: LOCK before a bit instruction on a register, which is #UD (SDM 2A "LOCK"), and
; changes nothing.

%include "handouts/proofs/proof.inc"

VEC_UD	equ 6

proof:	gate	VEC_UD, handler
	mov	ebp, .behind
	xor	eax, eax
	xor	ebx, ebx
	mov	ecx, [number]		; the last address that QEMU has made
	db	0xf0, 0x0f, 0xab, 0xc3	; lock bts ebx, eax: NASM would warn of it
.behind:
	say	"vector of lock bts ebx, eax: "
	mov	eax, [number]
	say	"memory, which was 0:         "
	jmp	off

; esp -> | eip | cs | eflags |: on to ebp, with the vector in eax
handler:
	mov	eax, VEC_UD
	mov	[esp], ebp
	iret

section .bss
	alignb	4
number:	resb	4

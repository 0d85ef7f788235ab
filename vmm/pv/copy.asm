; Between the host's memory and a PV guest's, which the CPU reaches by the guest's own tables: they may refuse.

%include "kern/trap.inc"

EFAULT	equ	14

default rel
section .text

; int pv_copy(uint64_t to, uint64_t from, uint64_t len)
global pv_copy:function hidden
pv_copy:
	mov	ecx, edx
	xor	eax, eax
	shr	ecx, 3
	and	edx, 7
.words:	rep movsq
	jz	.end			; and's flags: a movs leaves them alone
	mov	ecx, edx
.bytes:	rep movsb
.end:	ret
.bad:	mov	eax, -EFAULT
	ret
	EXTABLE	pv_copy.words, pv_copy.bad
	EXTABLE	pv_copy.bytes, pv_copy.bad

section .note.GNU-stack noalloc noexec nowrite progbits

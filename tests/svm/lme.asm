; EFER.LME without CR4.PAE, which is legal while paging is off: the guest exits so, sees both bits, and what its last
; letter says: `p` turns paging on, for which the CPU has #GP; `c` sets CR0.TS by mov and lmsw, and clears it, on the
; way to PAE.

%include "multiboot.inc"

section .text
global _start
_start:
	mov	esp, 0x2ff000
	last_letter
	mov	ecx, 0xc0000080
	rdmsr
	or	eax, 1 << 8
	wrmsr
	mov	al, 'L'
	call	say
	mov	ecx, 0xc0000080
	rdmsr
	shr	eax, 8
	and	al, 1
	add	al, '0'
	call	say
	cmp	bl, 'p'
	jne	.clts
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax		; #GP, and there is no IDT
.clts:	mov	eax, cr0
	or	eax, 1 << 3
	mov	cr0, eax
	clts
	smsw	ax
	or	al, 1 << 3
	lmsw	ax
	push	ax
	lmsw	[esp]
	pop	ax
	clts
	mov	eax, cr4
	or	eax, 1 << 5
	mov	cr4, eax
	mov	eax, cr0
	shr	eax, 3
	and	al, 1
	add	al, '0'
	call	say
	mov	al, 10
	call	say
	mov	al, 0
	out	0xf4, al
	hlt

say:	mov	dx, 0x3f8
	out	dx, al
	ret

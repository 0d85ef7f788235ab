; A breakpoint on data in long mode. `l`: the frame of its own #DB, which is pushed onto the same stack each
; time, so that one follows the other and no instruction ever runs between: for ever (CVE-2015-8104). `p`: an
; operand of a push whose stack is not there, so that the breakpoint is met and the instruction exits for
; another reason. Says the letter, then K where it comes on, F for each #DB that reaches its handler.

%include "hardware/long.inc"

NOWHERE	equ 0x3000000			; beyond the guest's memory

	long_mode 1, debug, 1
	mov	dword [abs PML4 + 0x2010], NOWHERE & ~0x1fffff | 0x83
	mov	al, bl
	call	say
	mov	eax, FRAMES - 8		; SS of the frame
	mov	dr0, rax
	mov	eax, 0x000b0402		; G0, eight bytes, reads and writes
	mov	dr7, rax
	cmp	bl, 'p'
	je	.push
	mov	rax, [abs FRAMES - 8]
	nop
	jmp	over
.push:	mov	esp, 0x400100
	push	qword [abs FRAMES - 8]
	mov	esp, 0x2ff000
over:	xor	eax, eax
	mov	dr7, rax
	mov	al, 'K'
	call	say
	mov	al, 10
	call	say
	mov	al, 0
	out	0xf4, al
	hlt

debug:	push	rax
	push	rdx
	mov	al, 'F'
	call	say
	pop	rdx
	pop	rax
	iretq

say:	mov	edx, 0x3f8
	out	dx, al
	ret

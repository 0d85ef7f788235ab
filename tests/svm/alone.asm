; Registers of long mode that the guest sets, with the CPU's leave or without: `p` clears CR4.PAE, which is #GP;
; `h` sets a high bit of CR3, which is #GP, too (under mmu=shadow: QEMU 7.2's CPU makes another exit of it);
; `n` sets CR0.NW without CD, which is #GP, too, and which QEMU 7.2 lets through. Says the letter, then F for a
; fault, K for none.

%include "hardware/long.inc"

	long_mode 13, fault, 0
	mov	al, bl
	call	say
	cmp	bl, 'h'
	je	.high
	cmp	bl, 'p'
	jne	.nw
	mov	rax, cr4
	and	eax, ~(1 << 5)
	mov	cr4, rax
	jmp	none
.high:	mov	rax, cr3
	bts	rax, 60
	mov	cr3, rax
	jmp	none
.nw:	mov	rax, cr0
	or	eax, 1 << 29
	mov	cr0, rax
none:	mov	al, 'K'
	jmp	over
fault:	mov	al, 'F'
over:	call	say
	mov	al, 10
	call	say
	mov	al, 0
	out	0xf4, al
	hlt

say:	mov	edx, 0x3f8
	out	dx, al
	ret

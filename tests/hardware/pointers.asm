; PAE paging's four topmost entries, where the CPU has them in registers (SDM 3A 4.4.1) and the guest changes them in
; memory: what Zeno does for it goes by the registers. Says `o` where an access finds what was there before, `n` for
; what is new, by the CPU and by the host; and `G` where a reserved bit is refused, as CR0.PG comes and as CR3 does.

%include "multiboot.inc"

TOP	equ 0x300000			; the four; two directories, the second one with the other page
OLD	equ 0x301000
NEW	equ 0x302000
GIB	equ 0x40000000			; where both show two pages of 2 MiB
PG	equ 1 << 31

	flat_start
	idt_gate 13, refused
	lidt	[idtr]
	mov	byte [0x400000], 'o'
	mov	byte [0x600000], 'n'
	mov	dword [TOP], 0x303001
	mov	dword [TOP + 8], OLD | 1
	mov	dword [0x303000], 0x83
	mov	dword [0x303008], 0x200083
	mov	dword [OLD], 0x400083
	mov	dword [NEW], 0x600083
	mov	eax, 1 << 5
	mov	cr4, eax
	mov	eax, TOP
	mov	cr3, eax

	mov	byte [TOP + 8 + 5], 0x20	; bit 45
	mov	ebp, .not
	mov	eax, cr0
	or	eax, PG
	mov	cr0, eax
	mov	al, '?'
	jmp	.now
.not:	mov	al, 'G'
.now:	call	say
	mov	byte [TOP + 8 + 5], 0
	mov	eax, cr0
	or	eax, PG
	mov	cr0, eax

	mov	dword [TOP + 8], NEW | 1
	invlpg	[GIB]
	mov	al, [GIB]
	call	say
	mov	esi, GIB
	mov	edx, 0x3f8
	outsb
	call	ready
	mov	eax, cr3
	mov	cr3, eax
	mov	al, [GIB]
	call	say
	mov	esi, GIB
	outsb
	call	ready

	mov	byte [TOP + 8 + 5], 0x20
	mov	ebp, .end
	mov	eax, cr3
	mov	cr3, eax
	mov	al, '?'
	call	say
.end:	mov	al, 'G'
	call	say
	mov	al, 10
	call	say
	xor	eax, eax
	out	0xf4, al
	hlt

refused:
	add	esp, 4
	mov	[esp], ebp
	iret

say:	mov	ah, al
	call	ready
	mov	al, ah
	mov	edx, 0x3f8
	out	dx, al
ready:	mov	ecx, eax
	mov	edx, 0x3fd
.busy:	in	al, dx
	test	al, 0x20
	jz	.busy
	mov	eax, ecx
	mov	edx, 0x3f8
	ret

	flat_tables 14

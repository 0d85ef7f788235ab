; 16-bit code far beyond 64 KiB: EIP has 32 bits there, too, and only a jump of 16 bits cuts it (SDM 1 3.5 "Instruction
; Pointer"). The instruction behind one that exits is the next one. Says `K`.

%include "multiboot.inc"

	flat_start
	mov	eax, 0x80000000
	jmp	24:.far
bits 16
.far:	cpuid
	in	al, 0x80
	db	0x66, 0xea			; jmp 8:.back
	dd	.back
	dw	8
bits 32
.back:	mov	al, 'K'
	say_and_end

	flat_tables 0, 0x008f9b000000ffff	; 16 bits, 4 GiB

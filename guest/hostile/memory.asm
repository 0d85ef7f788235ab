; What a guest leaves behind in its memory, and what the next one finds there.

%include "guest/hostile/attacks.inc"

LOW	equ 0x10000
LOW_END	equ 0x9e000
HIGH	equ 0x200000			; the image ends below
SECRET	equ 0x5ec2e700			; nowhere in the image: an instruction has its complement

extern ram_end
section .text

	ATTACK	"memory-leave", memory_leave, 0
memory_leave:
	push	edi
	mov	eax, ~SECRET
	not	eax
	mov	edi, LOW
	mov	ecx, (LOW_END - LOW) / 4
	rep stosd
	mov	edi, HIGH
	mov	ecx, [ram_end]
	sub	ecx, edi
	shr	ecx, 2
	rep stosd
	pop	edi
	xor	eax, eax
	ret

	ATTACK	"memory-look", memory_look, 0
memory_look:
	push	edi
	mov	eax, ~SECRET
	not	eax
	mov	edi, 0x1000
	mov	ecx, (LOW_END - 0x1000) / 4
	repne scasd
	je	.seen
	mov	edi, 0x100000
	mov	ecx, [ram_end]
	sub	ecx, edi
	shr	ecx, 2
	repne scasd
	je	.seen
	pop	edi
	xor	eax, eax
	ret
.seen:	pop	edi
	mov	eax, 1
	ret

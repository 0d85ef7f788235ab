; A guest that spins in one of four loops of 100 instructions, by the last digit of its words, so that who counts from
; outside can tell it apart from others; with a `+` there it also says, by `pause`, each time round that it waits.
%include "multiboot.inc"

section .text
global _start
_start:
	mov	esi, [ebx + 16]		; Multiboot, "cmdline"
	xor	ecx, ecx
	xor	edx, edx
.look:	lodsb
	cmp	al, '+'			; no path of a module has one
	sete	cl
	or	ch, cl
	movzx	eax, al
	sub	al, '1'
	cmp	al, 4
	cmovb	edx, eax
	cmp	al, 256 - '1'		; the end
	jne	.look
	cmp	dl, 1
	jb	spin_1
	je	spin_2
	cmp	dl, 3
	jb	spin_3
	jmp	spin_4

%macro SPIN 1
align 64
global spun_%1
spin_%1:
spun_%1:
	times	98 nop
	test	ch, ch
	jz	spun_%1
	pause
	jmp	spun_%1
%endmacro

	SPIN	1
	SPIN	2
	SPIN	3
	SPIN	4

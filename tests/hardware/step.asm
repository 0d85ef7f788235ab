; A step of an instruction that exits: TF is set in front of cpuid, and its #DB is the guest's. Says `S` if it comes
; behind the cpuid, `s` if elsewhere.

%include "multiboot.inc"

	flat_start
	idt_gate 1, debug
	lidt	[idtr]
	push	dword 0x102			; TF
	mov	eax, 0x80000000
	popf
	cpuid
behind:	mov	al, 's'
	jmp	say
debug:	mov	al, 's'
	cmp	dword [esp], behind
	jne	say
	mov	al, 'S'
say:	say_and_end

	flat_tables 2

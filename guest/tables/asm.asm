; The instructions of guest/tables that C cannot say. All cdecl: arguments from [esp + 4] upwards.

section .text

global interrupts_off
interrupts_off:
	cli
	ret

global interrupts_on
interrupts_on:
	sti
	nop
	ret

; void load_gdt(base, limit, code selector, data selector)
global load_gdt
load_gdt:
	mov	eax, [esp + 4]
	mov	ecx, [esp + 8]
	sub	esp, 8			; esp -> | limit (2) | base (4) | unused (2) | return | arguments
	mov	[esp], cx
	mov	[esp + 2], eax
	lgdt	[esp]
	add	esp, 8
	mov	eax, [esp + 16]
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	ss, eax
	push	dword [esp + 12]	; a far pointer for the jump: selector, then offset
	push	dword .here
	jmp	far [esp]
.here:	add	esp, 8
	ret

global read_through_es
read_through_es:
	mov	es, [esp + 4]
	mov	eax, [esp + 8]
	mov	eax, [es:eax]
	ret

global read_es
read_es:
	mov	eax, [esp + 4]
	mov	eax, [es:eax]
	ret

%macro CONTROL_REGISTER 1
global read_%1
read_%1:
	mov	eax, %1
	ret
global write_%1
write_%1:
	mov	eax, [esp + 4]
	mov	%1, eax
	ret
%endmacro

	CONTROL_REGISTER cr0
	CONTROL_REGISTER cr2
	CONTROL_REGISTER cr3
	CONTROL_REGISTER cr4

global clear_ts
clear_ts:
	clts
	ret

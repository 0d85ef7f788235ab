; The fuzzer guest's way into a round and out of it.
;
; A round begins with an iret to what `start` says, on a stack of its own. It ends in the first interrupt or fault, of
; whatever kind: each of the 256 handlers loads the CPU's state anew, and returns from run_round().

KCODE	equ 0x08
KDATA	equ 0x10
UDATA	equ 0x23
TSS_SEL	equ 0x28
LDT_SEL	equ 0x30
GDT	equ 0x208000
LDT	equ 0x209000
TRAP_STACK_TOP equ 0x20b000
LOST	equ 0xee			; exit code
START	equ 0x206800			; in the middle of STACK
START_SIZE equ 17 * 4
LOWEST	equ 0x200000			; a frame of a fault is looked at where the stack is in here
HIGHEST	equ 0x20cf00
END_SIZE equ 15 * 4

section .bss
	alignb	16
global end, end_cr2
end:	resb	END_SIZE
end_cr2:	resd	1
kernel_esp:	resd	1
good_cr0:	resd	1
good_cr3:	resd	1
good_cr4:	resd	1
round_cr3:	resd	1
running:	resd	1			; 1: a round
play_gdtr:	resb	8
tss:	resb	104
	alignb	8
idt:	resb	8 * 256

section .data
global kernel_gdt
	align	8
; Accessed already: the CPU has nothing to write into a read-only page.
kernel_gdt:
	dq	0
	dq	0x00cf9b000000ffff	; KCODE
	dq	0x00cf93000000ffff	; KDATA
	dq	0x00cffb000000ffff	; UCODE
	dq	0x00cff3000000ffff	; UDATA
	dq	0			; TSS_SEL
	dq	0			; LDT_SEL
gdt_end:
kernel_ss: dw	KDATA
gdtr:	dw	gdt_end - kernel_gdt - 1
	dd	kernel_gdt
idtr:	dw	8 * 256 - 1
	dd	idt
section .text

; eax = vector, edx = handler
set_gate:
	lea	ecx, [idt + eax * 8]
	mov	[ecx], dx
	mov	word [ecx + 2], KCODE
	mov	word [ecx + 4], 0xee00	; DPL 3: an int of ring 3's ends its round, too
	shr	edx, 16
	mov	[ecx + 6], dx
	ret

; A system descriptor: eax = base, ecx = limit, edx = type, edi = where
system_descriptor:
	mov	[edi], cx
	mov	[edi + 2], ax
	shr	eax, 16
	mov	[edi + 4], al
	mov	[edi + 5], dl
	mov	byte [edi + 6], 0
	mov	[edi + 7], ah
	ret

; void tables_init(uint32_t round_cr3): with paging on already
global tables_init
tables_init:
	mov	eax, [esp + 4]
	mov	[round_cr3], eax
	push	edi
	mov	dword [tss + 4], TRAP_STACK_TOP
	mov	dword [tss + 8], KDATA
	mov	word [tss + 102], 104	; no I/O permission bit map
	mov	eax, tss
	mov	ecx, 103
	mov	edx, 0x89
	mov	edi, kernel_gdt + TSS_SEL
	call	system_descriptor
	mov	eax, LDT
	mov	ecx, 0xfff
	mov	edx, 0x82
	mov	edi, kernel_gdt + LDT_SEL
	call	system_descriptor
	xor	eax, eax
.gates:	mov	edx, [handlers + eax * 4]
	call	set_gate
	inc	eax
	cmp	eax, 256
	jb	.gates
	mov	eax, cr0
	mov	[good_cr0], eax
	mov	eax, cr3
	mov	[good_cr3], eax
	mov	eax, cr4
	mov	[good_cr4], eax
	call	state_init
	lidt	[idtr]
	mov	eax, KDATA
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	jmp	KCODE:.here
.here:	pop	edi
	ret

; void state_init(void): all that a round may have changed and the handler does not load
global state_init
state_init:
	lgdt	[gdtr]
	mov	eax, [good_cr4]
	mov	cr4, eax
	mov	eax, [good_cr0]
	mov	cr0, eax
	and	byte [kernel_gdt + TSS_SEL + 5], 0xfd	; not busy
	mov	eax, TSS_SEL
	ltr	ax
	mov	eax, LDT_SEL
	lldt	ax
	xor	eax, eax
	mov	dr7, eax
	jmp	timer_init

; void run_round(const struct start *start, uint32_t gdt_limit)
; The stack:  esp -> | saved registers | return | start | gdt_limit |
global run_round
run_round:
	pushad
	mov	[kernel_esp], esp
	mov	esi, [esp + 36]
	mov	eax, [esp + 40]
	mov	dword [running], 1
	mov	[play_gdtr], ax
	mov	dword [play_gdtr + 2], GDT
	mov	edi, START
	mov	ecx, START_SIZE / 4
	cld
	rep movsd
	test	eax, eax
	jz	.enter
	lgdt	[play_gdtr]
.enter:	mov	eax, [round_cr3]
	mov	esp, START
	mov	cr3, eax
	popad
	pop	gs
	pop	fs
	pop	es
	pop	ds
	iretd

; Each handler's stub. A zero stands where the CPU pushes no error code.
%macro STUB 1
h%1:
%if !(%1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17)
	push	0
%endif
	push	%1
	jmp	ended
%endmacro

%assign n 0
%rep 256
	STUB	n
%assign n n + 1
%endrep

; esp -> | vector | error code | eip | cs | eflags | (esp | ss) |; the segments may be anything.
ended:	pushad
	lgdt	[cs:gdtr]
	mov	eax, KDATA
	mov	ds, eax
	mov	es, eax
	mov	eax, [good_cr3]
	mov	cr3, eax			; from here on the kernel's pages can be written
	cld
	dec	dword [running]
	js	lost
	mov	esi, esp
	mov	ss, [kernel_ss]
	mov	esp, [kernel_esp]
	cmp	esi, LOWEST
	jb	.mend
	cmp	esi, HIGHEST
	ja	.mend
	mov	edi, end
	mov	ecx, END_SIZE / 4
	rep movsd
.mend:	mov	eax, cr2
	mov	[end_cr2], eax
	jmp	KCODE:.here
.here:	lidt	[idtr]
	xor	eax, eax
	mov	fs, eax
	mov	gs, eax
	push	2
	popfd
	popad
	ret

; A fault of the kernel's own: random code has found a way to its data. The next guest has them anew.
lost:	mov	al, LOST
	out	0xf4, al
	cli
	hlt

section .rodata
handlers:
%assign n 0
%rep 256
	dd	h %+ n
%assign n n + 1
%endrep

section .text
; Both 8259s, of which only IRQ 0 is let through, and the PIT.
TICKS	equ 1193182 / 500
%macro OUT 2
	mov	al, %2
	out	%1, al
%endmacro
timer_init:
	OUT	0x20, 0x11
	OUT	0x21, 0x20
	OUT	0x21, 4
	OUT	0x21, 1
	OUT	0xa0, 0x11
	OUT	0xa1, 0x28
	OUT	0xa1, 2
	OUT	0xa1, 1
	OUT	0x21, 0xfe
	OUT	0xa1, 0xff
	OUT	0x43, 0x34
	OUT	0x40, TICKS & 0xff
	OUT	0x40, TICKS >> 8
	ret

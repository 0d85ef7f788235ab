; The way into a sequence and out of it: an iret with a state made by main.c; then the first interrupt or fault but
; the tick's, of whatever kind, tells all that it finds, makes the CPU what it was, and returns from run_sequence().
%include "guest/lib/stubs.inc"

KCODE	equ 0x08
KDATA	equ 0x10
TSS_SEL	equ 0x28
LDT_SEL	equ 0x30
START	equ 0x7a00			; in the middle of the stack's page
START_SIZE equ 15 * 4
END_SIZE equ 23 * 4
FRAME	equ 16 + 14 * 4			; from what the handler pushed to eip
LOST	equ 0xee			; exit code
COUNT	equ 0x7000
EFER	equ 0xc0000080
SYSENTER_ESP equ 0x175
TICKS	equ 24				; of the PIT: 20 us

section .bss
	alignb	16
global end, after, idt, idt2
end:	resb	END_SIZE
	alignb	16
after:
.cr0:	resd	1
.cr2:	resd	1
.cr3:	resd	1
.cr4:	resd	1
.dr:	resd	4
.dr6:	resd	1
.dr7:	resd	1
.tr:	resd	1
.ldtr:	resd	1
.efer:	resd	1
.frame:	resd	1
kernel_esp:	resd	1
good_cr0:	resd	1
good_cr3:	resd	1
good_cr4:	resd	1
running:	resd	1			; 1: a sequence
gdtr:	resb	8
idtr:	resb	8
	alignb	8
idt:	resq	256
	alignb	4096
idt2:	resq	256

	TRAP_STUBS 256, taken

; A tick may come while segments are any, but all stacks have base 0. It counts itself at the stack's far end.
tick:	inc	dword [ss:COUNT]
	push	eax
	mov	al, 0x20
	out	0x20, al		; end of interrupt
	pop	eax
	add	esp, 8
	iretd

; esp -> | vector | error code | eip | cs | eflags | (esp | ss) |
taken:	cmp	dword [ss:esp], 0x20
	je	tick
	pushad
	push	gs
	push	fs
	push	es
	push	ds
	sub	esp, 16
	sgdt	[ss:esp]
	sidt	[ss:esp + 8]
	mov	eax, KDATA
	mov	ds, eax
	mov	es, eax
	cld
	mov	eax, dr7
	mov	[after.dr7], eax
	xor	ecx, ecx
	mov	dr7, ecx
	mov	eax, cr0
	mov	[after.cr0], eax
	mov	eax, [good_cr0]
	mov	cr0, eax
	mov	eax, cr2
	mov	[after.cr2], eax
	mov	eax, cr3
	mov	[after.cr3], eax
	mov	eax, [good_cr3]
	mov	cr3, eax
	mov	eax, cr4
	mov	[after.cr4], eax
	mov	eax, [good_cr4]
	mov	cr4, eax
	call	keep_rest
	lidt	[idtr]
	dec	dword [running]
	js	lost
	lea	eax, [esp + FRAME]
	mov	[after.frame], eax
	mov	esi, esp
	mov	edi, end
	mov	ecx, END_SIZE / 4
	mov	eax, KDATA
	mov	ss, eax
	mov	esp, [kernel_esp]
	rep movsd
	jmp	KCODE:.here
.here:	xor	eax, eax
	mov	fs, eax
	mov	gs, eax
	push	2
	popfd
	popad
	ret

; Debug registers, CR2, TR, LDTR, EFER: told, and made what they were.
keep_rest:
	xor	ecx, ecx
%assign n 0
%rep 4
	mov	eax, dr %+ n
	mov	[after.dr + n * 4], eax
	mov	dr %+ n, ecx
%assign n n + 1
%endrep
	mov	eax, dr6
	mov	[after.dr6], eax
	mov	eax, 0xffff0ff0
	mov	dr6, eax
	mov	cr2, ecx
	str	eax
	mov	[after.tr], ax
	sldt	eax
	mov	[after.ldtr], ax
	mov	ecx, EFER
	rdmsr
	mov	[after.efer], eax
	xor	eax, eax
	xor	edx, edx
	wrmsr
	mov	ecx, SYSENTER_ESP
	wrmsr
	ret

; A fault of this guest's own.
lost:	mov	al, LOST
	out	0xf4, al
	cli
	hlt

; void state_init(const struct table *gdtr, const struct table *idtr): all that a sequence finds loaded
global state_init
state_init:
	push	esi
	push	edi
	mov	esi, [esp + 12]
	mov	edi, gdtr
	movsd
	movsd
	mov	esi, [esp + 16]
	movsd
	movsd
	lgdt	[gdtr]
	lidt	[idtr]
	mov	eax, TSS_SEL
	ltr	ax
	mov	eax, LDT_SEL
	lldt	ax
	mov	eax, KDATA
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	jmp	KCODE:.here
.here:	mov	eax, cr0
	mov	[good_cr0], eax
	mov	eax, cr3
	mov	[good_cr3], eax
	mov	eax, cr4
	mov	[good_cr4], eax
	pop	edi
	pop	esi
	ret

; void run_sequence(const struct start *start)
; The stack:  esp -> | saved registers | return | start |
global run_sequence
run_sequence:
	pushad
	mov	[kernel_esp], esp
	mov	esi, [esp + 36]
	mov	dword [running], 1
	mov	edi, START
	mov	ecx, START_SIZE / 4
	cld
	rep movsd
	mov	esp, START
	popad
	pop	gs
	pop	fs
	pop	es
	pop	ds
	iretd

; Both 8259s, of which only IRQ 0 is let through, and the PIT.
%macro OUT 2
	mov	al, %2
	out	%1, al
%endmacro
global timer_init
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

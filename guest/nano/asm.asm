; The seven operations, their handlers, and the way into ring 3 and back.

KCODE	equ 0x08
KDATA	equ 0x10
UCODE	equ 0x1b
UDATA	equ 0x23
TSS_SEL	equ 0x28
RUNS	equ 1000

section .bss
	align	16
trap_stack:
	resb	4096
trap_stack_top:
kernel_esp:	resd	1
tss:		resb	104

section .data
	align	8
gdt:	dq	0
	dq	0x00cf9b000000ffff	; KCODE
	dq	0x00cf93000000ffff	; KDATA
	dq	0x00cffb000000ffff	; UCODE
	dq	0x00cff3000000ffff	; UDATA
	dq	0			; TSS_SEL
gdt_end:
gdtr:	dw	gdt_end - gdt - 1
	dd	gdt

section .text

; void load_tables(idtr)
global load_tables
load_tables:
	mov	dword [tss + 4], trap_stack_top
	mov	dword [tss + 8], KDATA
	mov	word [tss + 102], 104	; no I/O permission bit map
	mov	eax, tss
	mov	word [gdt + TSS_SEL], 103
	mov	[gdt + TSS_SEL + 2], ax
	shr	eax, 16
	mov	[gdt + TSS_SEL + 4], al
	mov	byte [gdt + TSS_SEL + 5], 0x89
	mov	[gdt + TSS_SEL + 7], ah
	lgdt	[gdtr]
	jmp	KCODE:.here
.here:	mov	eax, KDATA
	mov	ss, eax
	mov	eax, UDATA		; in both rings, so that no change of ring takes them away
	mov	ds, eax
	mov	es, eax
	xor	eax, eax
	mov	fs, eax
	mov	gs, eax
	mov	eax, TSS_SEL
	ltr	ax
	mov	eax, [esp + 4]
	lidt	[eax]
	ret

; void paging_on(directory)
global paging_on
paging_on:
	mov	eax, [esp + 4]
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 0x80010000		; PG, WP
	mov	cr0, eax
	ret

; uint32_t measure(void (*run)(void), uint32_t eax): ecx is 0 at the call.
global measure
measure:
	push	ebx
	push	esi
	push	edi
	mov	edi, [esp + 16]
	mov	ebx, [esp + 20]
	xor	ecx, ecx
	rdtsc
	mov	esi, eax
	mov	eax, ebx
	call	edi
	rdtsc
	sub	eax, esi
	pop	edi
	pop	esi
	pop	ebx
	ret

global do_nothing, do_in, do_port, do_cpuid, do_cr3, do_call, do_fault, do_divide, do_write, do_touch
global do_apic_read, do_apic_eoi, do_hypercall, do_pic, do_mmio, do_bell, do_first
extern absent, table, window
do_nothing:
	ret
do_in:	in	al, 0x80
	ret
do_port:			; the UART's scratch register
	mov	edx, 0x3ff
	out	dx, al
	ret
do_cpuid:
	cpuid
	ret
do_cr3:	mov	cr3, eax
	ret
do_call:
	call	do_nothing
	ret
do_fault:
	mov	eax, [absent]
FAULT_LENGTH equ $ - do_fault
	ret
do_divide:
	div	ecx
DIVIDE_LENGTH equ $ - do_divide
	ret
do_write:
	mov	[table], eax
	ret
do_touch:
	invlpg	[window]
	mov	eax, [window]
	ret

; The local APIC's version, and the end of an interrupt that there is none of.
APIC	equ 0xfee00000
do_apic_read:
	mov	eax, [APIC + 0x30]
	ret
do_apic_eoi:
	mov	[APIC + 0xb0], eax
	ret

; What a peer is asked, too.
do_hypercall:
	vmmcall
HYPERCALL_LENGTH equ $ - do_hypercall
	ret
do_pic:	in	al, 0x21		; the mask of the master 8259
	ret
do_mmio:
	mov	[0xfed00000], eax	; where a PC may have a timer, which has a read-only register there
	ret
do_bell:
	mov	edx, 0x300		; user/dm's, and an event of KVM's: nobody answers
	out	dx, al
	ret
do_first:
	mov	[eax], eax
	ret

; void sleep(uint32_t times): halts until so many of the clock's interrupts have come.
global sleep, on_clock
sleep:	mov	ecx, [esp + 4]
	sti
.next:	hlt
	dec	ecx
	jnz	.next
	cli
	ret
on_clock:
	push	eax
	mov	al, 0x20
	out	0x20, al
	pop	eax
	iret

; Each goes on behind what faulted.
global on_divide, on_fault, on_syscall, on_done, on_undefined
on_undefined:				; a vmmcall that nobody answers
	add	dword [esp], HYPERCALL_LENGTH
	iret
on_divide:
	add	dword [esp], DIVIDE_LENGTH
	iret
on_fault:
	add	esp, 4			; the error code
	add	dword [esp], FAULT_LENGTH
	iret
on_syscall:
	iret
on_done:
	mov	esp, [kernel_esp]
	pop	edi
	pop	esi
	pop	ebx
	pop	ebp
	ret

; void run_user(void (*code)(void), uint32_t *samples)
global run_user
run_user:
	push	ebp
	push	ebx
	push	esi
	push	edi
	mov	[kernel_esp], esp
	mov	ecx, [esp + 20]
	mov	edi, [esp + 24]
	push	UDATA
	push	0			; it has no stack
	push	2
	push	UCODE
	push	ecx
	iret

; Ring 3 measures itself. It is position independent, and fills the samples at edi.
%macro USER 2
	global %1, %1_end
%1:	mov	ebp, RUNS
%%next:	rdtsc
	mov	esi, eax
	%2
	rdtsc
	sub	eax, esi
	stosd
	dec	ebp
	jnz	%%next
	int	0x81
%1_end:
%endmacro

	USER	user_nothing, {}
	USER	user_syscall, int 0x80

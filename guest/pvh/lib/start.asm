; A kernel with a CPU of its own that knows of Xen's services: where it begins, and what the library of the PV guests
; (guest/pv/lib) wants of its monitor.
;
; It is entered by a note (xen/include/public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY) in flat 32-bit protected mode, with
; the address of hvm_start_info in ebx, and goes to long mode by itself: its first GiB is mapped where it is.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

default rel

extern pvh_main, pv_exit

CODE64		equ 0x08
DATA		equ 0x10
USER_DATA	equ 0x18 + 3
USER_CODE	equ 0x20 + 3
CODE32		equ 0x28
TSS		equ 0x30
GATE		equ 0x8e00		; present, of ring 0, interrupts off
GATE_USER	equ 0xee00
UPCALL		equ 0xf3		; guest/pvh/lib/pvh.h

section .note.Xen note alloc noexec nowrite align=4
	dd	4, 4, 18		; XEN_ELFNOTE_PHYS32_ENTRY
	db	"Xen", 0
	dd	start32

section .hypercalls progbits alloc noexec write align=4096
global hypercall_page
hypercall_page:
	times	4096 db 0xcc		; the monitor writes it: by a guest-physical address

section .bss
alignb 4096
pml4:	resb	4096
pdpt:	resb	4096
directory:
	resb	4096
stack:	resb	16384
.top:
trap_stack:				; for what comes from ring 3
	resb	8192
.top:
idt:	resb	256 * 16

section .data
align 16
gdt:	dq	0
	dq	0x00209b0000000000	; CODE64
	dq	0x00cf93000000ffff	; DATA
	dq	0x00cff3000000ffff	; USER_DATA
	dq	0x0020fb0000000000	; USER_CODE
	dq	0x00cf9b000000ffff	; CODE32
.tss:	dw	tss.end - tss - 1, 0
	db	0, 0x89, 0, 0
	dq	0
.end:
gdt_at:	dw	gdt.end - gdt - 1
	dq	gdt
idt_at:	dw	256 * 16 - 1
	dq	idt
tss:	dd	0
	dq	trap_stack.top		; RSP0
	times	23 dd 0
.end:

[warning -zext-reloc]			; all addresses lie below 4 GiB
section .text
bits 32
global start32
start32:
	cld
	mov	esp, stack.top
	mov	dword [pml4], pdpt + 7
	mov	dword [pdpt], directory + 7
	mov	edi, directory
	mov	eax, 0x87		; 2 MiB pages, for ring 3, too
.fill:	mov	[edi], eax
	add	eax, 1 << 21
	add	edi, 8
	cmp	edi, directory + 4096
	jb	.fill
	mov	eax, tss
	mov	[gdt.tss + 2], ax
	shr	eax, 16
	mov	[gdt.tss + 4], al
	mov	[gdt.tss + 7], ah
	lgdt	[gdt_at]
	mov	eax, cr4
	or	eax, 1 << 5
	mov	cr4, eax
	mov	eax, pml4
	mov	cr3, eax
	mov	ecx, 0xc0000080		; EFER.LME
	mov	eax, 0x100
	xor	edx, edx
	wrmsr
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax		; SDM 3A 10.8.5: EFER.LMA follows
	jmp	CODE64:.long
bits 64
.long:	mov	eax, DATA
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	mov	eax, TSS
	ltr	ax
	mov	rsp, stack.top
	xor	ebp, ebp
	call	fill_idt
	lidt	[idt_at]
	mov	edi, ebx
	call	pvh_main
	mov	edi, eax
	call	pv_exit
	ud2

; A gate for each of handlers', for the upcall, and one that ring 3 may use.
fill_idt:
	lea	rsi, [pv_handlers]
	lea	rdi, [idt]
	mov	ecx, 20
	mov	edx, GATE
.next:	lodsq
	call	gate
	loop	.next
	mov	rax, [pv_handlers + 20 * 8]
	lea	rdi, [idt + 128 * 16]
	mov	edx, GATE_USER
	call	gate
	mov	rax, [pv_event_entry]
	lea	rdi, [idt + UPCALL * 16]
	mov	edx, GATE
; rax: where it leads; rdi: the gate, behind which it is then; edx: its kind
gate:	mov	[rdi], ax
	mov	word [rdi + 2], CODE64
	mov	[rdi + 4], dx
	shr	rax, 16
	mov	[rdi + 4], dx
	mov	[rdi + 6], ax
	shr	rax, 16
	mov	[rdi + 8], rax
	add	rdi, 16
	ret

; int64_t pv_call(number, a, b, c, d): any hypercall, by its number: behind the first stub's own number.
global pv_call
pv_call:
	mov	rax, rdi
	mov	rdi, rsi
	mov	rsi, rdx
	mov	rdx, rcx
	mov	r10, r8
	jmp	hypercall_page + 5

; As struct pv_frame has them (guest/pv/lib/pv.h), where HANDLER of guest/pv/lib/start.asm is for a PV kernel's stack.
%macro HANDLER 1
handler_%1:
%if !(%1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17)
	push	0			; the error code
%endif
	push	r11
	push	rcx
	push	%1
	jmp	trapped
[section .rodata]
	dq	handler_%1
__?SECT?__
%endmacro

%include "guest/pv/lib/handlers.inc"

trapped:
	TRAPPED
	pop	rcx
	pop	r11
	add	rsp, 8			; error code
	iretq

; int64_t pvh_user_call(number): the hypercall by a program's hand, and back by int 128.
global pvh_user_call, pvh_user_back
pvh_user_call:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	mov	[saved], rsp
	mov	rax, rsp
	sub	rax, 256
	push	USER_DATA
	push	rax
	push	2
	push	USER_CODE
	lea	rax, [.user]
	push	rax
	iretq
.user:	mov	eax, edi
	call	hypercall_page + 5
	int	128
pvh_user_back:				; of pv_handler's: rax is what it was told
	mov	rsp, [saved]
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	ret

; int64_t pvh_call32(number): by code that is 32 bits wide.
global pvh_call32
pvh_call32:
	push	rbx
	mov	[saved], rsp
	push	CODE32
	lea	rax, [.narrow]
	push	rax
	mov	eax, edi
	retfq
bits 32
.narrow:
	mov	ecx, hypercall_page + 5
	call	ecx
	jmp	CODE64:.back
bits 64
.back:	mov	rsp, [saved]
	pop	rbx
	movsxd	rax, eax
	ret

section .bss
saved:	resq	1

section .note.GNU-stack noalloc noexec nowrite progbits

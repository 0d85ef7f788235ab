; What a PV kernel does with the machine that it has not: an instruction each, its operand in rdi, its result in rax.

default rel

%macro FN 1
global do_%1
do_%1:
%endmacro

section .text
; to and from a struct of four: rax rbx rcx rdx at rdi
%macro FOUR 1+
	push	rbx
	mov	rax, [rdi]
	mov	rbx, [rdi + 8]
	mov	rcx, [rdi + 16]
	mov	rdx, [rdi + 24]
	%1
	mov	[rdi], rax
	mov	[rdi + 8], rbx
	mov	[rdi + 16], rcx
	mov	[rdi + 24], rdx
	pop	rbx
	ret
%endmacro

FN forced
	FOUR	db 0x0f, 0x0b, "xen", 0x0f, 0xa2
FN nearly_forced
	FOUR	db 0x0f, 0x0b, "xeN", 0x0f, 0xa2
FN rdmsr
	FOUR	rdmsr
FN wrmsr
	FOUR	wrmsr
FN rdtsc
	FOUR	rdtsc

%macro CR 1
FN from_cr%1
	mov	rax, cr%1
	mov	[rdi], rax
	ret
FN to_cr%1
	mov	cr%1, rdi
	ret
%endmacro
	CR	0
	CR	2
	CR	3
	CR	4
	CR	8
FN from_dr0
	mov	rax, dr0
	mov	[rdi], rax
	ret
FN to_dr0
	mov	dr0, rdi
	ret
FN to_dr7
	mov	dr7, rdi
	ret
FN cli
	cli
	ret
FN sti
	sti
	ret
FN clts
	clts
	ret
FN wbinvd
	wbinvd
	ret
FN fpu
	fldz
	fstp	st0
	ret
FN ins
	mov	edx, 0x80
	insb
	ret

; Ports: rax rbx rcx rdx
FN inb
	FOUR	in al, dx
FN inw
	FOUR	in ax, dx
FN inl
	FOUR	in eax, dx
FN in_imm
	FOUR	in al, 0x60
FN outl
	FOUR	out dx, eax

; The byte at fs:0, and gs:0
FN fs
	movzx	eax, byte [fs:0]
	mov	[rdi], rax
	ret
FN gs
	movzx	eax, byte [gs:0]
	mov	[rdi], rax
	ret
%macro SELECTOR 1
FN to_%1
	mov	%1, edi
	ret
FN from_%1
	mov	eax, %1
	mov	[rdi], rax
	ret
%endmacro
	SELECTOR ds
	SELECTOR es
	SELECTOR fs
	SELECTOR gs
FN lar			; rdi -> a selector, then its rights
	mov	rax, [rdi]
	lar	ecx, eax
	mov	[rdi], rcx
	jz	.good
	mov	qword [rdi], 0
.good:	ret
FN far			; to cs:rdi's low words, and back: in that segment
	push	rdi
	lea	rax, [.there]
	push	rax
	o64 retf
.there:	mov	eax, cs
	mov	[far_cs], rax
	push	0xe033
	lea	rax, [.back]
	push	rax
	o64 retf
.back:	ret
FN watched
	nop
	ret
FN read
	mov	al, [rdi]
	ret
FN int3
	int3
	ret
FN int_3			; of two bytes
	db	0xcd, 3
	ret

; With TF, whose #DB `mov ss` holds back for one instruction: the one that is asked for.
%macro HELD 2+
FN held_%1
	mov	eax, 17			; XEN_xen_version: its version
	pushfq
	or	qword [rsp], 0x100
	mov	edx, ss
	popfq
	mov	ss, edx
	%2
	nop
	ret
%endmacro
	HELD	int1, db 0xf1
	HELD	int3, int3
	HELD	int_80, int 0x80
	HELD	ud2, ud2
	HELD	read, mov al, [rdi + 0x3000]
	HELD	call, syscall
	HELD	cli, cli
	HELD	nop, nop

; A hypercall, by number and arguments as they stand at rdi; each other register has its own number. Behind it: what
; they hold, in rsp's place what rcx must, and its flags.
FN registers
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	push	rdi
	xor	eax, eax
	pushfq
	pop	qword [rdi + 16 * 8]
	lea	rax, [.next]
	mov	[rdi + 4 * 8], rax
	mov	ebx, 3
	mov	ebp, 5
%assign n 8
%rep 8
	mov	r%[n], n
%assign n n + 1
%endrep
	mov	rax, [rdi]
	mov	rdx, [rdi + 2 * 8]
	mov	rsi, [rdi + 6 * 8]
	mov	r10, [rdi + 10 * 8]
	mov	rdi, [rdi + 7 * 8]
	syscall
.next:	xchg	rdi, [rsp]
	mov	[rdi], rax
	mov	[rdi + 8], rcx
	mov	[rdi + 2 * 8], rdx
	mov	[rdi + 3 * 8], rbx
	mov	[rdi + 5 * 8], rbp
	mov	[rdi + 6 * 8], rsi
	pop	qword [rdi + 7 * 8]
%assign n 8
%rep 8
	mov	[rdi + n * 8], r%[n]
%assign n n + 1
%endrep
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	ret
FN flags		; a null hypercall with these at rdi, and what they are behind it
	push	rdi
	push	qword [rdi]
	mov	eax, 17
	mov	edi, 0
	popfq
	syscall
	pushfq
	pop	rax
	pop	rdi
	mov	[rdi], rax
	cld
	ret
; #UD, or #PF, with flags and a stack: three words at rdi. The first is what the flags are behind it
FN faults
	push	rbx
	mov	rbx, rsp
	mov	rsp, [rdi + 8]
	mov	rcx, [rdi + 16]
	mov	eax, 0x3000
	push	qword [rdi]
	popfq
	jrcxz	.ud
	mov	al, [rax]
	jmp	.on
.ud:	ud2
.on:	pushfq
	pop	qword [rdi]
	cld
	mov	rsp, rbx
	pop	rbx
	ret
FN edge			; to that address, for a null hypercall
	mov	rdx, rdi
	mov	eax, 17
	xor	edi, edi
	jmp	rdx

; HYPERVISOR_iret with nine words at rdi
FN iret
	mov	rsp, rdi
	mov	eax, 23
	syscall
	ud2

; Its failsafe callback: rcx r11 ds es fs gs rip cs rflags rsp ss
extern failsafe_words, failsafe_called
global failsafe
failsafe:
	mov	rsi, rsp
	lea	rdi, [failsafe_words]
	mov	ecx, 11
	cld
	rep movsq
	and	rsp, -16
	call	failsafe_called
	ud2

; The guest's user: what it finds in GS and FS, and in the monitor's leaf; then a ud2, for its kernel to see
global user_code
user_code:
	movzx	r12d, byte [gs:0]
	movzx	r13d, byte [fs:0]
	mov	eax, 0x40000000
	db	0x0f, 0x0b, "xen", 0x0f, 0xa2
	mov	r14d, ebx
	ud2
	rdtsc
	ud2

; ... with a GS of its own, when it faults, and at its beginning
global user_gs
user_gs:
	mov	eax, 0x1b
	mov	gs, eax
	mov	eax, 0x3000
	mov	al, [rax]
	mov	al, [gs:0]
	ud2

section .bss
global far_cs
far_cs:	resq	1

section .note.GNU-stack noalloc noexec nowrite progbits

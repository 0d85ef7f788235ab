; A program of the host's ring 3 that means it no good: one attack a run, by the word behind its name (tests/user.t).
; Each ends it by a fault of its own, but for those behind `harmless`, which go on and end with status 0.

%define USER_EXIT    0		; inc/user.h
%define USER_VECTOR  4
%define FRAME	     0x5fd000	; on its stack
%define KERNEL	     0xffff828000100000
%define DIRECT	     0xffff830000000000
%define WINDOW	     0xffff82000000e000
%define NO_CANONICAL 0x8000000000000000
%define VM	     1 << 17
%define TF	     1 << 8

section .text
global _start
_start:
	mov	rdi, table
.next:	mov	rsi, WORDS		; of the run page
	mov	rbx, [rdi]		; the attack
	add	rdi, 8
	test	rbx, rbx
	jz	unknown
.same:	mov	al, [rdi]
	cmp	al, [rsi]
	jne	.skip
	inc	rdi
	inc	rsi
	test	al, al
	jnz	.same
	call	rbx
	xor	edi, edi
	jmp	exit
.skip:	inc	rdi
	cmp	byte [rdi - 1], 0
	jne	.skip
	jmp	.next
unknown:
	mov	edi, 99
exit:	mov	eax, USER_EXIT
	int	USER_VECTOR
	ud2

section .rodata
table:

%macro ATTACK 1
[section .rodata]
	dq	%%act
	db	%1, 0
[section .text]
%%act:
%endmacro

; One instruction that ring 3 may not.
%macro ONE 2+
	ATTACK	%1
	%2
	ret
%endmacro

; Memory. Its own code and constants are read-only, its data and stack no code.
%macro TOUCH 2
	ATTACK	%1
	mov	rax, %2
	mov	al, [rax]
	ret
%endmacro
	TOUCH	"null", 0
	TOUCH	"kernel", KERNEL
	TOUCH	"direct-map", DIRECT
	TOUCH	"gdt", WINDOW
	TOUCH	"no-canonical", NO_CANONICAL
	TOUCH	"below-stack", 0x5f8000
	TOUCH	"beyond", 0x600000
	TOUCH	"wraps", -1
	ATTACK	"write-code"
	mov	byte [rel _start], 0x90
	ret
	ATTACK	"write-constants"
	mov	byte [rel table], 0
	ret
	ATTACK	"run-stack"
	mov	byte [rsp - 64], 0xc3
	lea	rax, [rsp - 64]
	jmp	rax
	ATTACK	"run-kernel"
	mov	rax, KERNEL
	jmp	rax
	ATTACK	"run-nowhere"
	mov	rax, NO_CANONICAL
	push	rax
	ret
	ATTACK	"stack-overflow"
.more:	push	rax
	jmp	.more
	ATTACK	"stack-in-kernel"	; its next push is its own fault
	mov	rsp, KERNEL
	push	rax

; Instructions of ring 0, of ports, of the FPU; and vectors that are not its own.
	ONE	"cli", cli
	ONE	"sti", sti
	ONE	"hlt", hlt
	ONE	"in", in al, 0x60
	ONE	"out", out 0x80, al
	ONE	"outsb", outsb
	ONE	"lgdt", lgdt [rsp - 64]
	ONE	"lidt", lidt [rsp - 64]
	ONE	"lldt", lldt ax
	ONE	"ltr", ltr ax
	ONE	"read-cr0", mov rax, cr0
	ONE	"write-cr3", mov cr3, rax
	ONE	"write-cr4", mov cr4, rax
	ONE	"write-dr7", mov dr7, rax
	ONE	"clts", clts
	ONE	"lmsw", lmsw ax
	ONE	"rdmsr", rdmsr
	ONE	"wrmsr", wrmsr
	ONE	"invlpg", invlpg [rsp]
	ONE	"wbinvd", wbinvd
	ONE	"swapgs", swapgs
	ONE	"sysret", o64 sysret
	ONE	"syscall", syscall
	ONE	"sysenter", sysenter
	ONE	"vmcall", vmcall
	ONE	"vmmcall", vmmcall
	ONE	"vmrun", vmrun
	ONE	"stgi", stgi
	ONE	"x87", fldz
	ONE	"sse", movaps xmm0, xmm1
	ONE	"fxsave", fxsave [rsp - 1024]
	ONE	"ud2", ud2
	ONE	"int3", int3
	ONE	"icebp", db 0xf1
	ONE	"int-irq", int 0x20
	ONE	"int-nmi", int 2
	ONE	"int-df", int 8
	ONE	"int-pf", int 14
	ONE	"int-callout", int 0xe0
	ONE	"int-80", int 0x80
	ATTACK	"divide"
	xor	ecx, ecx
	div	ecx
	ret

; Segments: the host's, a guest's, 32 bits; and the ways to another ring.
%macro SELECT 3
	ATTACK	%1
	mov	eax, %3
	mov	%2, eax
	ret
%endmacro
	SELECT	"ds-host", ds, 0xe010
	SELECT	"ss-host", ss, 0xe010
	SELECT	"ds-guest", ds, 0x0b
	SELECT	"gs-ldt", gs, 0x0f
	SELECT	"ds-tss", ds, 0xe043
	SELECT	"ds-beyond", ds, 0xe0fb
%macro FAR 2
	ATTACK	%1
	push	qword %2
	lea	rax, [rel exit]
	push	rax
	o64 retf
%endmacro
	FAR	"far-host", 0xe008
	FAR	"far-32", 0xe023
	FAR	"far-tss", 0xe040
	ATTACK	"iret-host"
	mov	rax, rsp
	push	qword 0xe02b
	push	rax
	push	qword 2
	push	qword 0xe008
	lea	rax, [rel exit]
	push	rax
	iretq
%macro V86 2			; name, flags: an iret of 32 bits, whose VM QEMU obeys (handouts/emulators.md#iret-vm)
	ATTACK	%1
	mov	rdi, FRAME
	mov	rsp, rdi
	xor	eax, eax
	mov	ecx, 9
	rep stosd
	mov	dword [rsp + 8], %2
	iretd
%endmacro
	V86	"v86", VM | 2
	V86	"v86-off", VM | 0x3002

; Debug traps: of TF in front of each way into the host, where `mov ss` holds them back.
%macro STEP 3+
	ATTACK	%1
	mov	eax, USER_EXIT
	xor	edi, edi
	mov	ecx, ss
	pushfq
	or	qword [rsp], TF
	popfq
%if %2
	mov	ss, ecx
%endif
	%3
	ret
%endmacro
	STEP	"step", 0, nop
	STEP	"step-ss-int3", 1, int3
	STEP	"step-ss-icebp", 1, db 0xf1
	STEP	"step-ss-ud2", 1, ud2
	STEP	"step-ss-syscall", 1, syscall

; harmless:
	STEP	"step-int", 0, int USER_VECTOR
	STEP	"step-ss-int", 1, int USER_VECTOR
	ATTACK	"flags"		; and a system call with them
	pushfq
	or	qword [rsp], 1 << 18 | 1 << 14 | 1 << 10 | 3 << 12
	popfq
	xor	edi, edi
	jmp	exit
	ATTACK	"stack-wild"	; it is the host's that a system call uses
	mov	rsp, KERNEL + 64
	xor	edi, edi
	jmp	exit
	ATTACK	"stack-no-canonical"
	mov	rsp, NO_CANONICAL
	xor	edi, edi
	jmp	exit
	ATTACK	"rdtsc"
	rdtsc
	xor	edi, edi
	jmp	exit
	ATTACK	"segments"
	mov	eax, 0xe02b
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	xor	edi, edi
	jmp	exit
	ATTACK	"calls"		; each with each wild argument; no number ends it but USER_EXIT's
	mov	ebx, USER_EXIT + 1
.call:	xor	r12d, r12d
.first:	xor	r13d, r13d
.second:
	mov	rax, rbx
	mov	rdi, [wild + 8 * r12]
	mov	rsi, [wild + 8 * r13]
	int	USER_VECTOR
	inc	r13d
	cmp	r13d, WILD
	jb	.second
	inc	r12d
	cmp	r12d, WILD
	jb	.first
	inc	ebx
	cmp	ebx, 40
	jb	.call
	mov	rax, -1
	int	USER_VECTOR
	mov	rax, 1 << 32	; whose lower half is a number
	int	USER_VECTOR
	ret
	ATTACK	"spin"
	jmp	$
	ATTACK	"yields"
.again:	mov	eax, 2
	int	USER_VECTOR
	jmp	.again

section .rodata
	dq	0
wild:	dq	0, 1, -1, KERNEL, DIRECT, NO_CANONICAL, 120, 121, 4096, 1 << 32
	dq	0x3fffff, 0x400000, 0x5effff, 0x5fdfff, 0x5fffff, 0x600000
WILD	equ	($ - wild) / 8

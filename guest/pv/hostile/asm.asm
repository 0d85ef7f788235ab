; Instructions that a PV kernel must not have, and a way to come back from what they raise.

default rel

section .text
; read, write, run: at an address
global do_read, do_write, do_run
do_read:
	mov	al, [rdi]
	ret
do_write:
	mov	byte [rdi], 0
	ret
do_run:	jmp	rdi

; A hypercall while rsp is whatever rdi says: number 17, which needs no memory.
global do_call_at
do_call_at:
	mov	rbp, rsp
	mov	rsp, rdi
	xor	edi, edi
	xor	esi, esi
	mov	eax, 17
	syscall
	mov	rsp, rbp
	ret

; Null hypercalls, 8 bytes each, and a #UD behind them
global do_nulls
do_nulls:
%rep 8
	mov	eax, 17
	nop
	syscall
%endrep
	ud2

; HYPERVISOR_iret with nine words at rdi
global do_iret
do_iret:
	mov	rsp, rdi
	mov	eax, 23
	syscall
	ud2

; An exception while rsp is whatever rdi says
global do_fault_at
do_fault_at:
	mov	rsp, rdi
	test	rsi, rsi
	jz	.ud
	mov	al, [rsi]
.ud:	ud2

; iretq of the CPU's own, with these rflags and this cs
global do_iretq
do_iretq:
	mov	rax, rsp
	push	0xe02b
	push	rax
	push	rdi
	push	rsi
	lea	rcx, [.behind]
	push	rcx
	iretq
.behind: ret

; iret with VM set, in its 32-bit form: gs fs ds es ss esp eflags cs eip
global do_iretd
do_iretd:
	sub	rsp, 9 * 4
	mov	dword [rsp], 0x1000
	mov	dword [rsp + 4], 0xe033
	mov	dword [rsp + 8], 0x20202
	mov	dword [rsp + 12], 0x8000
	mov	dword [rsp + 16], 0xe02b
	iretd

; Flags that the guest has not: what comes of them
global do_popf
do_popf:
	push	rdi
	popfq
	pushfq
	pop	rax
	mov	[rsi], rax
	cld
	ret

; One step ahead, over a syscall behind mov ss
global do_step
do_step:
	mov	ecx, 0xe02b
	pushfq
	or	dword [rsp], 0x100
	mov	eax, 17
	xor	edi, edi
	popfq
	mov	ss, ecx
	syscall
	pushfq
	and	dword [rsp], ~0x100
	popfq
	ret

; The guest's user: a syscall, int 0x80, an exception, each for the kernel to see
global user_code
user_code:
	mov	eax, 77
	syscall
	int	0x80
	ud2
	mov	rax, 0xffff800000000000
	mov	byte [rax], 0
	hlt
	jmp	$

; Its kernel's callback: C, and back by iret, as the frame says
extern user_called, hypercall_page
global user_callback
user_callback:
	push	rax			; a struct of: rax rcx r11 rip cs rflags rsp ss
	mov	rdi, rsp
	mov	rbp, rsp
	and	rsp, -16
	call	user_called
	mov	rsp, rbp
	pop	rax
	pop	rcx
	pop	r11
	push	0x100			; VGCF_in_syscall
	jmp	hypercall_page + 23 * 32

; struct { name, code }
%macro INSN 1
	ret
%%code:
[section .rodata.insns]
	dq	%%name, %%code
[section .rodata]
%%name:	db	%1, 0
__?SECT?__
%endmacro

[section .rodata.insns]
align 8
global insns
insns:
__?SECT?__

	INSN	"hlt"
	hlt
	INSN	"cli"
	cli
	INSN	"sti"
	sti
	INSN	"in"
	in	al, 0x60
	INSN	"out"
	out	0xf4, al
	INSN	"to-cr0"
	mov	cr0, rax
	INSN	"to-cr3"
	mov	cr3, rax
	INSN	"from-cr1"
	mov	rax, cr1
	INSN	"to-cr1"
	mov	cr1, rax
	INSN	"to-cr8"
	mov	cr8, rax
	INSN	"to-dr7"
	mov	dr7, rax
	INSN	"invlpg"
	invlpg	[rsp]
	INSN	"rdmsr"
	mov	ecx, 0xc0000082
	rdmsr
	INSN	"rdmsr-wild"
	mov	ecx, 0xdeadbeef
	rdmsr
	INSN	"wrmsr"
	mov	ecx, 0xc0000082
	wrmsr
	INSN	"swapgs"
	swapgs
	INSN	"sysret"
	o64 sysret
	INSN	"sysenter"
	sysenter
	INSN	"sysexit"
	sysexit
	INSN	"xsetbv"
	xsetbv
	INSN	"vmcall"
	vmcall
	INSN	"vmmcall"
	vmmcall
	INSN	"vmrun"
	vmrun
	INSN	"stgi"
	stgi
	INSN	"lgdt"
	lgdt	[rsp]
	INSN	"lidt"
	lidt	[rsp]
	INSN	"lldt"
	lldt	ax
	INSN	"ltr"
	ltr	ax
	INSN	"lmsw"
	lmsw	ax
	INSN	"int-20"
	int	0x20
	INSN	"int-e0"
	int	0xe0
	INSN	"jmp-host"
	push	0xe008
	lea	rax, [hang]
	push	rax
	o64 retf
	INSN	"jmp-32"
	push	0xe023
	lea	rax, [hang]
	push	rax
	o64 retf
	INSN	"ds-host"
	mov	eax, 0xe010
	mov	ds, eax
	INSN	"ds-tss"
	mov	eax, 0xe040
	mov	ds, eax
	INSN	"ss-null"
	xor	eax, eax
	mov	ss, eax
	INSN	"fs-beyond"
	mov	eax, 0xfffb
	mov	fs, eax
	ret
hang:	jmp	hang

[section .rodata.insns]
	dq	0, 0

section .note.GNU-stack noalloc noexec nowrite progbits

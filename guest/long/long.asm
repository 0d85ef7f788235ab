; A guest in long mode: it gets there by itself, shows what only a 64-bit CPU has, and goes back.
;
; Registers R8 to R15 over exits, 64-bit gates and stacks, syscall and sysret, swapgs, bases of FS
; and GS, string I/O and interrupts. Each line must be the bare machine's.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

CODE32		equ 0x08
DATA32		equ 0x10
CODE64		equ 0x18
USER_DATA	equ 0x28 + 3		; sysret takes SS = STAR[63:48] + 8, CS = STAR[63:48] + 16
USER_CODE	equ 0x30 + 3
TSS		equ 0x38
MSR_EFER	equ 0xc0000080
MSR_STAR	equ 0xc0000081
MSR_LSTAR	equ 0xc0000082
MSR_SFMASK	equ 0xc0000084
MSR_FS_BASE	equ 0xc0000100
MSR_GS_BASE	equ 0xc0000101
MSR_KERNEL_GS	equ 0xc0000102
HIGH		equ 0xffff900000000000	; canonical, and mapped nowhere

[warning -zext-reloc]			; all addresses lie below 4 GiB
bits 32
section .text

%macro WRMSR_TO 3			; number, low, high
	mov	ecx, %1
	mov	eax, %2
	mov	edx, %3
	wrmsr
%endmacro

; uint32_t guest_main(uint32_t magic, const uint32_t *info): guest/lib has set up stack and console.
global guest_main
guest_main:
	pusha
	mov	[stack32], esp
	mov	al, 0xff
	out	0x21, al		; no interrupt before its time
	out	0xa1, al
	mov	dword [pml4], pdpt + 7
	mov	dword [pdpt], directory + 7
	mov	edi, directory
	mov	eax, 0x87		; 2 MiB pages, for ring 3, too
.fill:	mov	[edi], eax
	add	eax, 1 << 21
	add	edi, 8
	cmp	edi, directory + 4096
	jb	.fill
	mov	eax, tss64
	mov	[gdt64.tss + 2], ax
	shr	eax, 16
	mov	[gdt64.tss + 4], al
	mov	[gdt64.tss + 7], ah
	lgdt	[gdt64_at]
	mov	eax, cr4
	or	eax, 1 << 5
	mov	cr4, eax
	mov	eax, pml4
	mov	cr3, eax
	WRMSR_TO MSR_EFER, 0x101, 0	; LME, SCE
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax		; SDM 3A 10.8.5: EFER.LMA follows
	jmp	CODE64:there

back:	mov	eax, cr0		; in compatibility mode
	and	eax, ~(1 << 31)
	mov	cr0, eax
	WRMSR_TO MSR_EFER, 0, 0
	mov	eax, cr4
	and	eax, ~(1 << 5)
	mov	cr4, eax
	jmp	CODE32:.flat
.flat:	mov	eax, DATA32
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	ss, eax
	mov	esp, [stack32]
	popa
	xor	eax, eax
	ret

bits 64
; A line: its words, then RAX in hexadecimal digits.
%macro SAY 1
	push	rsi
	mov	rsi, %%words
	call	line
	pop	rsi
[section .rodata]
%%words: db %1, 0
__SECT__
%endmacro

there:	xor	eax, eax
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	mov	rsp, stack64
	mov	ax, TSS
	ltr	ax
	call	make_idt
	mov	ecx, MSR_EFER
	rdmsr
	and	eax, 0xfff
	SAY	"efer"
	call	registers
	call	strings
	call	faults
	call	bases
	call	watches
	call	rings
	call	ticks
	push	CODE32
	push	back
	retfq

; What exits keep of the upper registers.
registers:
%assign n 8
%rep 8
	mov	r%[n], 0x1111111111111111 * (n - 7)
%assign n n + 1
%endrep
	mov	rbx, 0x0123456789abcdef
	mov	al, 0
	out	0x80, al
	in	al, 0x80
	mov	ecx, MSR_EFER
	rdmsr
	push	rbx
	xor	eax, eax
	cpuid
	pop	rbx
	xor	rax, rax
%assign n 8
%rep 8
	rol	rax, 7
	xor	rax, r%[n]
%assign n n + 1
%endrep
	SAY	"r8 to r15"
	mov	rax, rbx
	SAY	"rbx"
	mov	edx, 0x3ff		; COM1's scratch register
	mov	al, 0x5a
	out	dx, al
	mov	rax, 0xffffffffffffffff
	in	al, dx
	SAY	"in al keeps"
	mov	rax, 0xffffffffffffffff
	mov	edx, 0xcfc
	in	eax, dx			; clears bits 63:32
	shr	rax, 32
	SAY	"in eax clears"
	mov	rax, cr3
	mov	cr3, rax		; the same: with audit=1 the shadows are looked at here
	sub	rax, pml4
	SAY	"cr3 leads to"
	ret

strings:
	mov	rsi, .words
	mov	ecx, .end - .words
	mov	dx, 0x3ff
	rep outsb
	mov	rax, rsi
	sub	rax, .words
	SAY	"outsb moved"
	xor	eax, eax
	in	al, dx
	SAY	"the last one was"
	ret
.words:	db	"outsb"
.end:

; ---- faults: `fault` has the vector, its error code and CR2; the handler goes on at R15 ----

%macro FAULT 1+
	lea	r15, [rel %%on]
	mov	qword [rel fault.vector], -1
	%1
%%on:	call	tell_fault
%endmacro

faults:
	FAULT	ud2
	FAULT	int3
	mov	rbx, HIGH
	FAULT	mov rax, [rbx]
	FAULT	mov [rbx + 8], rax
	mov	rbx, 0x0000900000000000
	FAULT	mov rax, [rbx]		; not canonical: #GP(0)
	mov	rax, HIGH
	FAULT	jmp rax
	xor	edx, edx
	xor	ebx, ebx
	FAULT	div rbx
	ret

tell_fault:
	mov	rax, [rel fault.vector]
	SAY	"vector"
	mov	rax, [rel fault.error]
	SAY	"  error"
	cmp	qword [rel fault.vector], 14
	jne	.done
	mov	rax, [rel fault.cr2]
	SAY	"  cr2"
.done:	ret

; ---- FS, GS ----

bases:	WRMSR_TO MSR_FS_BASE, place, 0
	WRMSR_TO MSR_GS_BASE, place + 8, 0
	WRMSR_TO MSR_KERNEL_GS, place + 16, 0xffff8000
	mov	rax, [fs:0]
	SAY	"fs:0"
	mov	rax, [gs:0]
	SAY	"gs:0"
	swapgs
	mov	ecx, MSR_GS_BASE
	rdmsr
	shl	rdx, 32
	or	rax, rdx
	sub	rax, place
	SAY	"gs base behind swapgs"
	swapgs
	mov	ecx, MSR_KERNEL_GS
	rdmsr
	mov	eax, edx
	SAY	"kernel gs base, upper half"
	ret

; ---- breakpoints where a hypervisor may be ----

watches:
	mov	rax, 0xffff828000100000
	mov	dr0, rax
	mov	rax, 0xffff828000101000
	mov	dr1, rax
	mov	eax, 0x000b040f		; eight bytes of data, and code
	mov	dr7, rax
	mov	al, 0
	out	0x80, al
	xor	eax, eax
	cpuid
	mov	rax, dr7
	SAY	"dr7"
	mov	rax, dr0
	SAY	"dr0"
	mov	eax, 0x400
	mov	dr7, rax
	mov	rax, dr6
	and	eax, 0xf
	SAY	"hits"
	ret

; ---- ring 3, by sysret, and back by syscall ----

rings:	WRMSR_TO MSR_STAR, 0, 0x00200018	; kernel CS 18h, SS 20h; user CS 30h + 3, SS 28h + 3
	WRMSR_TO MSR_LSTAR, called, 0
	WRMSR_TO MSR_SFMASK, 0x200, 0
	mov	[rel stack0], rsp
	mov	rcx, user
	mov	r11d, 0x202
	mov	rsp, stack3
	o64 sysret
user:	mov	r12, 0x7700770077007700
	mov	rax, cs
	syscall
called:	mov	rsp, [rel stack0]	; interrupts are off by SFMASK
	SAY	"ring 3's cs"
	mov	rax, r12
	SAY	"ring 3's r12"
	mov	rax, rcx
	sub	rax, user
	SAY	"syscall left"
	mov	rax, cs
	SAY	"cs"
	mov	rax, ss
	SAY	"ss"
	ret

; ---- interrupts: five ticks of the 8254, some of them out of hlt ----

ticks:	mov	al, 0x11
	out	0x20, al
	mov	al, 0x20
	out	0x21, al
	mov	al, 4
	out	0x21, al
	mov	al, 1
	out	0x21, al
	mov	al, 0xfe
	out	0x21, al
	mov	al, 0x34
	out	0x43, al
	mov	al, 0x00
	out	0x40, al
	mov	al, 0x10
	out	0x40, al
.wait:	sti
	hlt
	cli
	cmp	qword [rel ticked], 5
	jb	.wait
	mov	al, 0xff
	out	0x21, al
	mov	rax, 5
	SAY	"ticks, at least"
	ret

; ---- gates ----

; 16 bytes each: SDM 3A 6.14.1, figure 6-8.
make_idt:
	mov	rdi, idt64
	mov	rax, stubs
.next:	mov	[rdi], ax
	mov	word [rdi + 2], CODE64
	mov	word [rdi + 4], 0x8e00
	mov	rdx, rax
	shr	rdx, 16
	mov	[rdi + 6], dx
	mov	dword [rdi + 8], 0
	add	rdi, 16
	add	rax, 16
	cmp	rdi, idt64 + 16 * 33
	jb	.next
	lidt	[rel idt64_at]
	ret

;	| ss rsp rflags cs rip | error or 0 | vector |
align 16
stubs:
%assign v 0
%rep 32
	align 16
%if !(v == 8 || (v >= 10 && v <= 14) || v == 17)
	push	0
%endif
	push	v
	jmp	trapped
%assign v v + 1
%endrep
	align 16
	push	rax
	inc	qword [rel ticked]
	mov	al, 0x20
	out	0x20, al
	pop	rax
	iretq

trapped:
	pop	qword [rel fault.vector]
	pop	qword [rel fault.error]
	mov	rax, cr2
	mov	[rel fault.cr2], rax
	mov	[rsp], r15
	iretq

; ---- the console ----

line:	push	rax
.byte:	lodsb
	test	al, al
	jz	.words
	call	put
	jmp	.byte
.words:	mov	al, ' '
	call	put
	pop	rax
	push	rcx
	mov	ecx, 16
.digit:	rol	rax, 4
	push	rax
	and	al, 15
	add	al, '0'
	cmp	al, '9'
	jbe	.is
	add	al, 'a' - '9' - 1
.is:	call	put
	pop	rax
	loop	.digit
	pop	rcx
	mov	al, 10
put:	push	rdx
	push	rax
	mov	edx, 0x3fd
.wait:	in	al, dx
	test	al, 0x20
	jz	.wait
	pop	rax
	mov	edx, 0x3f8
	out	dx, al
	pop	rdx
	ret

section .data
align 16
gdt64:	dq	0
	dq	0x00cf9a000000ffff	; 08h code, 32 bits
	dq	0x00cf92000000ffff	; 10h data
	dq	0x00af9a000000ffff	; 18h code, 64 bits
	dq	0x00cf92000000ffff	; 20h data
	dq	0x00cff2000000ffff	; 28h data, ring 3
	dq	0x00affa000000ffff	; 30h code, ring 3
.tss:	dq	0x0000890000000067, 0	; 38h
.end:
gdt64_at: dw	gdt64.end - gdt64 - 1
	dq	gdt64
idt64_at: dw	16 * 33 - 1
	dq	idt64
place:	dq	0x5555000011112222, 0x6666000033334444, 0

section .bss
alignb 4096
pml4:	resb	4096
pdpt:	resb	4096
directory: resb	4096
idt64:	resb	16 * 33
tss64:	resb	104
alignb 16
	resb	4096
stack64:
	resb	4096
stack3:
stack0:	resq	1
fault:
.vector: resq	1
.error:	resq	1
.cr2:	resq	1
ticked:	resq	1
stack32: resd	1

section .note.GNU-stack noalloc noexec nowrite progbits

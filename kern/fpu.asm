; FPU, SSE and debug registers.
;
; SDM = Intel SDM order no. 325462-080, June 2023; APM = AMD APM 24593 rev 3.40.

%define CR0_MP		(1 << 1)
%define CR0_EM		(1 << 2)
%define CR0_TS		(1 << 3)
%define CR0_NE		(1 << 5)
%define CR4_OSFXSR	(1 << 9)
%define CR4_OSXMMEXCPT	(1 << 10)
%define CR4_OSXSAVE	(1 << 18)

%define FXSAVE_FCW	0			; SDM 1 table 10-2
%define FXSAVE_MXCSR	24
%define FCW_RESET	0x037f			; SDM 1 8.1.5: as FNINIT leaves it
%define MXCSR_RESET	0x1f80			; SDM 1 10.2.3
%define DR6_RESET	0xffff0ff0		; SDM 3A table 10-1
%define DR7_RESET	0x400
%define DR7_GD		(1 << 13)

default rel

; Read only: FXRSTOR from here is what puts *every* register at its reset value, XMM8-15 included.
section .rodata align=16
global fpu_reset:data hidden
fpu_reset:	dw	FCW_RESET
	times	FXSAVE_MXCSR - FXSAVE_FCW - 2 db 0
	dd	MXCSR_RESET
	times	512 - FXSAVE_MXCSR - 4 db 0
one:	dd	1

	align	8
global debug_reset:data hidden
debug_reset:	dq	0, 0, 0, 0, 0, 0, DR6_RESET, DR7_RESET

section .text

; void fpu_init(void);   SDM 3A 10.2 "FPU initialization", 14.1
global fpu_init:function hidden
fpu_init:
	mov	rax, cr0
	and	rax, ~(CR0_EM | CR0_TS)
	or	rax, CR0_MP | CR0_NE
	mov	cr0, rax
	; OSXSAVE stays 0: with it a guest in ring 1 could run xgetbv, and AVX would be state that
	; no thread switch saves.
	mov	rax, cr4
	and	rax, ~CR4_OSXSAVE
	or	rax, CR4_OSFXSR | CR4_OSXMMEXCPT
	mov	cr4, rax
	lea	rdi, [fpu_reset]
	jmp	fpu_restore

; Without these FXSAVE and FXRSTOR would raise #NM or #UD, on the account of a guest's TS or EM, or
; leave XMM out, on that of its OSFXSR.
; Writing CR0 is slow where it is intercepted, hence the test. Changes rax only.
fpu_open:
	mov	rax, cr4
	test	eax, CR4_OSFXSR
	jnz	.cr0
	or	rax, CR4_OSFXSR
	mov	cr4, rax
.cr0:	mov	rax, cr0
	test	eax, CR0_EM | CR0_TS
	jz	.done
	and	rax, ~(CR0_EM | CR0_TS)
	mov	cr0, rax
.done:	ret

; void fpu_save(void *area); The form without REX.W: it keeps the 16-bit FCS and FDS, which a 32-bit
; guest sees in fnstenv. The 64-bit form would keep 64-bit instruction pointers instead (SDM 1
; 10.5.1).
global fpu_save:function hidden
fpu_save:
	call	fpu_open
	fxsave	[rdi]
	ret

; void fpu_restore(const void *area); On AMD FXRSTOR leaves the last instruction's pointers and
; opcode alone unless an exception is pending (APM 2 11.4.4), so the next owner could read the last
; one's. A load of our own makes them ours, in two steps so that no pending exception fires and a
; register is free.
global fpu_restore:function hidden
fpu_restore:
	call	fpu_open
	fnclex
	emms
	fild	dword [one]
	fxrstor	[rdi]
	ret

; void debug_registers_save(uint64_t dr[8]);
global debug_registers_save:function hidden
debug_registers_save:
	mov	rax, dr7
	mov	[rdi + 8 * 7], rax
	mov	eax, DR7_RESET
	mov	dr7, rax			; first: the rest of the host runs without them
%assign n 0
%rep 4
	mov	rax, dr %+ n
	mov	[rdi + 8 * n], rax
%assign n n + 1
%endrep
	mov	rax, dr6
	mov	[rdi + 8 * 6], rax
	ret

; void debug_registers_restore(const uint64_t dr[8]);
global debug_registers_restore:function hidden
debug_registers_restore:
	mov	eax, DR7_RESET
	mov	dr7, rax			; no breakpoint while the addresses change
%assign n 0
%rep 4
	mov	rax, [rdi + 8 * n]
	mov	dr %+ n, rax
%assign n n + 1
%endrep
	mov	eax, [rdi + 8 * 6]		; 32 bits: the upper half must be 0
	mov	dr6, rax
	mov	eax, [rdi + 8 * 7]
	and	eax, ~DR7_GD			; or the next save would be a #DB in the host
	mov	dr7, rax
	ret

; void debug_registers_clear(void);
global debug_registers_clear:function hidden
debug_registers_clear:
	lea	rdi, [debug_reset]
	jmp	debug_registers_restore

section .note.GNU-stack noalloc noexec nowrite progbits

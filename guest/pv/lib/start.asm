; How a PV kernel says what it is, and where it begins.
;
; Xen's notes (xen/include/public/elfnote.h) tell the domain builder where it wants to lie. It is entered in 64-bit
; mode, in ring 3, on page tables and a stack that the builder has made; rsi is start_info. What a handler finds on its
; stack has vmm/pv/bounce.c drawn, and every PV monitor makes it so.

default rel

; NOTE type, quad or text
%macro NOTE 2
	dd	4, %%end - %%words, %1
	db	"Xen", 0
%%words:
%ifstr %2
	db	%2, 0
%else
	dq	%2
%endif
%%end:	align	4, db 0
%endmacro

extern guest_main, virt_base

section .note.Xen note alloc noexec nowrite align=4
	NOTE	1, _start		; ENTRY
	NOTE	2, hypercall_page	; HYPERCALL_PAGE
	NOTE	3, virt_base		; VIRT_BASE: pv.ld
	NOTE	5, "xen-3.0"		; XEN_VERSION
	NOTE	6, "zeno-pv"		; GUEST_OS
	NOTE	8, "generic"		; LOADER

section .hypercalls progbits alloc exec nowrite align=4096
global hypercall_page
hypercall_page:
	times	4096 db 0xcc		; the monitor writes it

section .text
global _start
_start:
	cld
	xor	ebp, ebp
	mov	rdi, rsi
	call	guest_main
	mov	edi, eax
extern pv_exit
	call	pv_exit
	ud2

; int64_t pv_call(number, a, b, c, d): any hypercall, by its number, without the page. A call saves rcx and r11.
global pv_call
pv_call:
	mov	rax, rdi
	mov	rdi, rsi
	mov	rsi, rdx
	mov	rdx, rcx
	mov	r10, r8
	syscall
	ret

; What a handler finds, and what it makes of that:
;
;   | ss rsp rflags mask:cs rip |
;   | error code, or 0          |
;   | r11 rcx                   |  <- rsp at the entry; where there is no error code, it is moved in
;   | vector rax rdx rbx rbp rsi rdi r8 r9 r10 r12-r15 |
%macro HANDLER 1
handler_%1:
%if !(%1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17)
	push	qword [rsp]		; rcx
	push	rax
	mov	rax, [rsp + 24]
	mov	[rsp + 16], rax		; r11
	mov	qword [rsp + 24], 0	; the error code
	pop	rax
%endif
	push	%1
	jmp	trapped
[section .rodata]
	dq	handler_%1
__?SECT?__
%endmacro

%include "guest/pv/lib/handlers.inc"

trapped:
	TRAPPED
	mov	rcx, [rsp]
	mov	r11, [rsp + 8]
	add	rsp, 24			; rcx, r11, error code
	push	0			; flags
	jmp	hypercall_page + 23 * 32

section .note.GNU-stack noalloc noexec nowrite progbits

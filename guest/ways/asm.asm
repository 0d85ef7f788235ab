; Events from ring 3 and ring 0, and what takes them down.
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

KERNEL_CS equ 0x08			; the selectors of main.c
KERNEL_DS equ 0x10
USER_DS	equ 0x23
TSS	equ 0x28
EVENT	equ 0x30
DONE	equ 0x40
BASED	equ 0x41
PF	equ 14
WORDS	equ 12				; of a frame that are taken down

section .text

; A stub leaves vector and error code on the stack.
%assign v 0
%rep 256
stub_%+v:
%if !(v == 8 || (v >= 10 && v <= 14) || v == 17)
	push	dword 0
%endif
	push	dword v
	jmp	trapped
%assign v v + 1
%endrep

section .rodata
global stubs
stubs:
%assign v 0
%rep 256
	dd	stub_%+v
%assign v v + 1
%endrep

section .bss
global taken
taken:					; struct taken of main.c
.flags:	resd	1
.cs:	resd	1
.ss:	resd	1
.esp:	resd	1
.frame:	resd	WORDS			; vector, error, eip, cs, eflags, esp, ss
.eax:	resd	1
.ecx:	resd	1
.cr2:	resd	1
kernel_esp: resd 1
	resd	64
user_stack:

section .text
extern take_down
; The frame is read through SS, and all else through DS.
trapped:
	pushf
	push	ebx
	push	eax
	mov	eax, USER_DS
	mov	ds, eax
	mov	es, eax
	mov	eax, [esp + 8]
	mov	[taken.flags], eax
	mov	[taken.cs], cs
	mov	[taken.ss], ss
	mov	[taken.esp], esp
%assign n 0
%rep WORDS
	mov	eax, [esp + 12 + 4 * n]
	mov	[taken.frame + 4 * n], eax
%if n == 4
	cmp	dword [taken.frame], PF	; of ring 0: no more may be there
	je	.known
%endif
%assign n n + 1
%endrep
.known:	mov	[taken.ecx], ecx
	mov	eax, cr2
	mov	[taken.cr2], eax
	pop	eax
	mov	[taken.eax], eax
	pop	ebx
	add	esp, 4
	pusha				; esp -> | pusha's eight | vector | error | eip | cs | eflags | esp | ss |
	call	take_down
	test	eax, eax
	jz	home
%macro STORE 1
	mov	eax, [taken.frame + 4 * %1]
	mov	[esp + 32 + 4 * %1], eax
%endmacro
	STORE	2
	STORE	3
	STORE	4
	test	byte [taken.frame + 12], 3
	jz	.inner
	STORE	5
	STORE	6
.inner:	popa
	add	esp, 8
	iret

; An event that is no part of the way, or the end of it.
home:	mov	eax, KERNEL_DS
	mov	ss, eax
	mov	esp, [kernel_esp]
	push	dword 2
	popf
	popa
	ret

; void run(cs, ss, code): by iret, to ring 3 or to ring 0
global run
run:	pusha
	mov	[kernel_esp], esp
	mov	eax, [esp + 36]
	mov	ecx, [esp + 40]
	mov	edx, [esp + 44]
	test	eax, 3
	jz	.inner
	push	ecx
	push	dword user_stack
.inner:	push	dword 2
	push	eax
	push	edx
	iret

; void back(cs, frame): iret, in code segment cs of ring 0, by the frame there
global back
back:	pusha
	mov	[kernel_esp], esp
	mov	ebx, [esp + 40]
	push	dword [esp + 36]
	push	dword .there
	retf
.there:	push	dword 0x38d7		; results, for an iret that faults, and IOPL 3
	popf
	in	al, 0x21		; an exit, so that the host has heard of them
	mov	esp, ebx
	mov	eax, 0x11223344
	mov	ecx, 0x55667788
	iret

; void nested(frame): iret with NT set
global nested
nested:	pusha
	mov	[kernel_esp], esp
	mov	esp, [esp + 36]
	push	dword 0x4002
	popf
	iret

global code_int, code_ud2, user_stack
code_int:
	int	EVENT
	int	DONE
code_ud2:
	ud2
	int	DONE
	times 18 - ($ - code_int) nop	; what is here in a segment whose base is 16
	jmp	.based
	times 22 - ($ - code_int) nop
.based:	cmp	dword [fresh], 0	; an exit, and back to the same segment
	int	BASED

section .bss
alignb 4096
fresh:	resb	4096

section .text

; void load_tables(gdtr, idtr, directory): and paging on
global load_tables
load_tables:
	mov	eax, [esp + 4]
	lgdt	[eax]
	mov	eax, [esp + 8]
	lidt	[eax]
	mov	eax, KERNEL_DS
	mov	ss, eax
	mov	eax, USER_DS		; which ring 0 may use, too
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	jmp	KERNEL_CS:.there
.there:	mov	eax, TSS
	ltr	ax
	mov	eax, [esp + 12]
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 0x80000000
	mov	cr0, eax
	ret

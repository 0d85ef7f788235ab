; The eighteen instructions, and the stubs of the traps.
;
; The stack at handle(frame):  esp -> | frame * | edi esi ebp - ebx edx ecx eax | vector | error | eip cs eflags ...

%include "guest/lib/stubs.inc"

GATE	equ 0x30			; an interrupt gate of ring 0
BACK	equ 0x80
PROBE	equ 0x81			; a trap gate of ring 3: its frame shows the flags

section .text
extern handle

	TRAP_STUBS 256, all_traps

section .data
global resume_at, seen, asked, own_code, user_target
resume_at: dd	0
seen:	times 8 dd 0
asked:	times 4 dd 0
own_code: dd	0
user_target: dd	0
kernel_esp: dd	0
area:	times 2 dd 0
pointer: dd	0, 0			; offset, selector: for far calls and jumps

section .text
all_traps:
	TRAP_TO_C

; void load_tables(gdt, limit, idt, limit, tr, ldt)
global load_tables
load_tables:
	LOAD_TABLES
	ltr	[esp + 20]
	lldt	[esp + 24]
	ret

; void enter_user(code, cs, stack, ss): the way back is leave_user().
;   esp in between -> | edi esi ebx ebp | return | code | cs | stack | ss |
global enter_user
enter_user:
	push	ebp
	push	ebx
	push	esi
	push	edi
	mov	[kernel_esp], esp
	mov	ecx, esp
	mov	eax, [ecx + 32]
	mov	ds, eax
	mov	es, eax
	push	eax
	push	dword [ecx + 28]
	push	dword 2			; eflags: IF=0, IOPL=0
	push	dword [ecx + 24]
	push	dword [ecx + 20]
	iret

	LEAVE_USER 0x10

global user_run
user_run:
	call	[user_target]
	int	BACK

; A function that may fault: EBP keeps the stack, the fault goes on at .on.
%macro TRY 0
	push	ebp
	mov	ebp, esp
	push	ebx
	mov	dword [resume_at], .on
%endmacro
%macro TRIED 0
.on:	mov	ebx, [ebp - 4]
	mov	esp, ebp
	pop	ebp
	ret
%endmacro

%macro STORE_TABLE 1
global do_%1
do_%1:	TRY
	%1	[area]
	movzx	eax, word [area]
	mov	[seen], eax
	mov	eax, [area + 2]
	mov	[seen + 4], eax
	TRIED
%endmacro
	STORE_TABLE sgdt
	STORE_TABLE sidt

%macro STORE_WORD 1
global do_%1
do_%1:	TRY
	xor	eax, eax
	%1	ax
	mov	[seen], eax
	TRIED
%endmacro
	STORE_WORD sldt
	STORE_WORD str
	STORE_WORD smsw

global do_pushf
do_pushf:
	TRY
	pushf
	pop	dword [seen]
	TRIED

; Whether IF has really changed, only a trap's frame can tell. PROBE's handler puts IF back.
global do_popf
do_popf:
	TRY
	push	dword 0x202
	popf
	int	PROBE
	TRIED

%macro LOOK_UP 1
global do_%1
do_%1:	TRY
	xor	ecx, ecx
.next:	mov	ebx, [asked + ecx * 4]
	or	edx, -1			; what stays if the CPU refuses
	%1	edx, ebx
	mov	[seen + ecx * 4], edx
	inc	ecx
	cmp	ecx, 3
	jb	.next
	TRIED
%endmacro
	LOOK_UP lar
	LOOK_UP lsl

%macro VERIFY 1
global do_%1
do_%1:	TRY
	xor	ecx, ecx		; the RPL
	xor	edx, edx
.next:	mov	ebx, [asked]
	or	ebx, ecx
	xor	eax, eax
	%1	bx
	setz	al
	shl	eax, cl
	or	edx, eax
	inc	ecx
	cmp	ecx, 4
	jb	.next
	mov	[seen], edx
	TRIED
%endmacro
	VERIFY verr
	VERIFY verw

global do_pop
do_pop:	TRY
	mov	eax, [asked]
	or	eax, 1			; of ring 0, asked for with RPL 1
	push	eax
	pop	gs
	mov	dword [seen], 1
	xor	eax, eax
	mov	gs, eax
	TRIED

global do_push
do_push:
	TRY
	push	cs
	pop	eax
	mov	[seen], eax
	push	ss
	pop	eax
	mov	[seen + 4], eax
	TRIED

global do_mov
do_mov:	TRY
	mov	eax, cs
	mov	[seen], eax
	mov	eax, ss
	mov	[seen + 4], eax
	TRIED

; A call to the level's own code: the CS that it pushes.
;   esp at .in -> | eip | cs |
global do_call
do_call:
	TRY
	mov	dword [pointer], .in
	mov	eax, [own_code]
	mov	[pointer + 4], eax
	call	far [pointer]
.in:	mov	eax, [esp + 4]
	mov	[seen], eax
	TRIED

; To the level's own code; ring 0 asks with RPL 1 (asked[3]), which is more than it may.
%macro BY_FAR 1+
	TRY
	mov	dword [pointer], .in
	mov	eax, [asked + 12]
	mov	[pointer + 4], eax
	%1
.in:	mov	dword [seen], 1
	mov	dword [pointer], .on
	mov	eax, [own_code]
	mov	[pointer + 4], eax
	jmp	far [pointer]
	TRIED
%endmacro

global do_jmp
do_jmp:	BY_FAR jmp far [pointer]

%macro RETURN_FAR 0
	push	eax
	push	dword [pointer]
	retf
%endmacro

global do_ret
do_ret:	BY_FAR RETURN_FAR

global do_int
do_int:	TRY
	int	GATE
	TRIED

global do_cpuid
do_cpuid:
	TRY
	mov	eax, 1
	cpuid
	mov	[seen], eax
	mov	[seen + 4], edx
	and	ecx, 1 << 27		; OSXSAVE is a copy of CR4's
	mov	[seen + 8], ecx
	TRIED

global do_rdtsc
do_rdtsc:
	TRY
	rdtsc
	mov	ebx, eax
	rdtsc
	sub	eax, ebx
	setnz	byte [seen]
	TRIED

global do_xgetbv
do_xgetbv:
	TRY
	xor	ecx, ecx
	db	0x0f, 0x01, 0xd0
	mov	[seen], eax
	TRIED

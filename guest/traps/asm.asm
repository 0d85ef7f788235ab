; The stubs of guest/traps, and the instructions that fault.
;
; The stack at handle(frame):  esp -> | frame * | edi esi ebp - ebx edx ecx eax | vector | error | eip cs eflags ...

%include "guest/lib/stubs.inc"

section .text
extern handle

	TRAP_STUBS 256, all_traps

section .data
global resume_at
resume_at: dd	0
kernel_esp: dd	0

section .text
all_traps:
	TRAP_TO_C

; void load_tables(gdt, limit, idt, limit, tr)
global load_tables
load_tables:
	LOAD_TABLES
	ltr	[esp + 20]
	ret

; The faults. Each says first where it goes on.
%macro FAULT 1+
	mov	dword [resume_at], %%on
	%1
%%on:
%endmacro

global divide_by_zero
divide_by_zero:
	xor	ecx, ecx
	FAULT	div ecx
	ret

global undefined
undefined:
	FAULT	ud2
	ret

global breakpoint
breakpoint:
	int3
	ret

global load_gs
load_gs:
	mov	eax, [esp + 4]
	FAULT	mov gs, eax
	ret

global single_step
single_step:
	pushf
	or	dword [esp], 0x100
	popf
	nop				; #DB comes after this one
	pushf
	and	dword [esp], ~0x100
	popf
	ret

%macro RAISE 1
global raise_%1
raise_%1:
	int	0x%1
	ret
%endmacro
	RAISE	30
	RAISE	31
	RAISE	32
	RAISE	33

global raise_34
raise_34:
	FAULT	int 0x34
	ret

global raise_35
raise_35:
	FAULT	int 0x35
	ret

global wait_for_interrupt
wait_for_interrupt:
	sti
	hlt
	cli
	ret

; void enter_user(code, cs, stack, ss): the way back is leave_user().
global enter_user
enter_user:
	push	ebp
	push	ebx
	push	esi
	push	edi
	mov	[kernel_esp], esp
	mov	eax, [esp + 20 + 12]	; ss
	mov	ds, eax
	mov	es, eax
	push	eax
	push	dword [esp + 20 + 8 + 4] ; esp
	push	dword 2			; eflags
	push	dword [esp + 20 + 4 + 12] ; cs
	push	dword [esp + 20 + 0 + 16] ; eip
	iret

	LEAVE_USER 0x10

; Ring 3. Data is flat there, too.
%macro BACK 0
	mov	eax, 0xdead
	int	0x80
%endmacro

global user_call
user_call:
	mov	eax, 1
	int	0x80
	BACK

global user_cli
user_cli:
	FAULT	cli
	BACK

global user_out
user_out:
	FAULT	out 0x80, al
	BACK

global user_int30
user_int30:
	FAULT	int 0x30
	BACK

global user_load
user_load:
	mov	eax, 0x10
	FAULT	mov gs, eax
	BACK

; The stubs of guest/steps, its tables' registers, and the way to ring 3 and back.
;
; The stack at handle(frame):  esp -> | frame * | edi esi ebp - ebx edx ecx eax | vector | error | eip cs eflags ...

%include "guest/lib/stubs.inc"

section .text
extern handle

	TRAP_STUBS 256, all_traps

section .data
kernel_esp: dd	0

section .text
all_traps:
	pusha
	mov	eax, ss			; ring 0's data; a fault may have come with others loaded
	mov	ds, eax
	mov	es, eax
	cld
	push	esp
	call	handle
	add	esp, 4
	mov	eax, 0x23		; flat for both rings
	mov	ds, eax
	mov	es, eax
	popa
	add	esp, 8
	iret

; void load_tables(gdt_register, idt_register, tr): pointers to what lgdt and lidt load
global load_tables
load_tables:
	mov	eax, [esp + 4]
	mov	ecx, [esp + 8]
	lgdt	[eax]
	lidt	[ecx]
	mov	eax, 0x23
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	eax, 0x10
	mov	ss, eax
	jmp	8:.there
.there:	mov	eax, [esp + 12]		; 0: it is loaded already
	test	eax, eax
	jz	.done
	ltr	ax
.done:	ret

; void enter_user(code, cs, stack, ss, eflags): the way back is leave_user().
global enter_user
enter_user:
	push	ebp
	push	ebx
	push	esi
	push	edi
	mov	[kernel_esp], esp
	mov	eax, esp
	push	dword [eax + 20 + 12]	; ss
	push	dword [eax + 20 + 8]	; esp
	push	dword [eax + 20 + 16]	; eflags
	push	dword [eax + 20 + 4]	; cs
	push	dword [eax + 20 + 0]	; eip
	iret

	LEAVE_USER 0x23

global read_dr6, write_dr6, write_dr7, set_de, watch
read_dr6:
	mov	eax, dr6
	ret
write_dr6:
	mov	eax, [esp + 4]
	mov	dr6, eax
	ret
write_dr7:
	mov	eax, [esp + 4]
	mov	dr7, eax
	ret
set_de:	mov	eax, cr4
	or	eax, 8
	mov	cr4, eax
	ret
watch:
	mov	eax, [esp + 4]
	mov	dr0, eax
	mov	eax, 0x000f0001
	mov	dr7, eax
	ret

; void paging_on(directory), paging_off(void), invalidate(at)
global paging_on, paging_off, invalidate
paging_on:
	mov	eax, cr4
	or	eax, 0x10
	mov	cr4, eax
	mov	eax, [esp + 4]
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 0x80000000
	mov	cr0, eax
	ret
paging_off:
	mov	eax, cr0
	and	eax, 0x7fffffff
	mov	cr0, eax
	ret
invalidate:
	mov	eax, [esp + 4]
	invlpg	[eax]
	ret

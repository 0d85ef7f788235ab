; Into the kernel and out of it, the switch between kernel stacks, and instructions that C has no words for.
;
; The way of a trap: the CPU takes esp from the TSS and pushes ss, esp, eflags, cs, eip (and an error code); a stub
; pushes the vector; all_traps pushes the rest of struct trapframe and calls trap() (trap.c); trap_return goes back.

%include "guest/lib/stubs.inc"

extern trap
	TRAP_STUBS 48, all_traps

global stub_syscall
stub_syscall:
	push	dword 0
	push	dword 0x80
all_traps:
	push	ds
	push	es
	push	fs
	push	gs
	pusha
	mov	eax, 0x10
	mov	ds, eax
	mov	es, eax
	cld
	push	esp
	call	trap
	add	esp, 4
global trap_return
trap_return:
	popa
	pop	gs
	pop	fs
	pop	es
	pop	ds
	add	esp, 8			; vector, error code
	iret

; void switch_stacks(uint32_t **old, uint32_t *new)
;   at *old and new:  esp -> | edi | esi | ebx | ebp | return |
global switch_stacks
switch_stacks:
	mov	eax, [esp + 4]
	mov	edx, [esp + 8]
	push	ebp
	push	ebx
	push	esi
	push	edi
	mov	[eax], esp
	mov	esp, edx
	pop	edi
	pop	esi
	pop	ebx
	pop	ebp
	ret

; void load_tables(const void *gdtr, const void *idtr, uint32_t tr)
global load_tables
load_tables:
	mov	eax, [esp + 4]
	lgdt	[eax]
	mov	eax, [esp + 8]
	lidt	[eax]
	mov	eax, 0x10
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	jmp	8:.there
.there:	ltr	[esp + 12]
	ret

global cli
cli:	cli
	ret

global sti
sti:	sti
	ret

; void wait_for_interrupt(void): `sti` holds interrupts off until `hlt`, so none can slip in between.
global wait_for_interrupt
wait_for_interrupt:
	sti
	hlt
	cli
	ret

global read_cr2
read_cr2:
	mov	eax, cr2
	ret

global load_cr3
load_cr3:
	mov	eax, [esp + 4]
	mov	cr3, eax
	ret

; void set_cr4(uint32_t bits)
global set_cr4
set_cr4:
	mov	eax, cr4
	or	eax, [esp + 4]
	mov	cr4, eax
	ret

global flush_page
flush_page:
	mov	eax, [esp + 4]
	invlpg	[eax]
	ret

; void copy(void *dst, const void *src, uint32_t bytes). It may fault on the program's pages, and goes on after that.
global copy
copy:	push	esi
	push	edi
	mov	edi, [esp + 12]
	mov	esi, [esp + 16]
	mov	ecx, [esp + 20]
	shr	ecx, 2
	rep movsd
	mov	ecx, [esp + 20]
	and	ecx, 3
	rep movsb
	pop	edi
	pop	esi
	ret

; void clear(void *dst, uint32_t bytes)
global clear
clear:	push	edi
	mov	edi, [esp + 8]
	mov	ecx, [esp + 12]
	xor	eax, eax
	shr	ecx, 2
	rep stosd
	mov	ecx, [esp + 12]
	and	ecx, 3
	rep stosb
	pop	edi
	ret

; void popf_pair(void): how most kernels guard a few instructions. In ring 1 the `popf` changes nothing, and does not
; trap either: a virtual IF that `cli` cleared stays clear. The only pushf and popf of this kernel.
global popf_pair
popf_pair:
	pushf
	cli
	popf
	ret

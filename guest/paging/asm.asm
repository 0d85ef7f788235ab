; The instructions of guest/paging that C cannot say. All cdecl.
;
; A fault in one of the accesses below is looked at and given up: the handler notes vector, error code and CR2 and
; goes on behind the access, on the stack as it was.

KCODE	equ 0x08
KDATA	equ 0x10
UCODE	equ 0x1b
UDATA	equ 0x23			; DS and ES in both rings
TSS_SEL	equ 0x28
INT_END	equ 0x30			; ring 3: done
ACCESS_SEGMENT equ 6

section .bss
	align	16
trap_stack:
	resb	4096
trap_stack_top:
saved_esp:	resd	1
global idt, gdt, fault_vector, fault_error, fault_cr2, faults, user_entry, user_stack
fault_vector:	resd	1
fault_error:	resd	1
fault_cr2:	resd	1
faults:		resd	1
user_entry:	resd	1
user_stack:	resd	1
tss:	resb	104
idt:	resb	8 * 64
idtr:	resb	6

section .data
	align	8
gdt:	dq	0
	dq	0x00cf9b000000ffff	; KCODE
	dq	0x00cf93000000ffff	; KDATA
	dq	0x00cffb000000ffff	; UCODE
	dq	0x00cff3000000ffff	; UDATA
	dq	0			; TSS_SEL
gdt_end:
gdtr:	dw	gdt_end - gdt - 1
	dd	gdt

section .text

; set_gate(eax = vector, edx = handler, ecx = access byte)
set_gate:
	lea	eax, [idt + eax * 8]
	mov	[eax], dx
	mov	word [eax + 2], KCODE
	mov	byte [eax + 4], 0
	mov	[eax + 5], cl
	shr	edx, 16
	mov	[eax + 6], dx
	ret

global tables_init
tables_init:
	mov	dword [tss + 4], trap_stack_top
	mov	dword [tss + 8], KDATA
	mov	word [tss + 102], 104	; no I/O permission bit map
	mov	eax, tss
	mov	word [gdt + TSS_SEL], 103
	mov	[gdt + TSS_SEL + 2], ax
	shr	eax, 16
	mov	[gdt + TSS_SEL + 4], al
	mov	byte [gdt + TSS_SEL + 5], 0x89
	mov	[gdt + TSS_SEL + 7], ah
	lgdt	[gdtr]
	jmp	KCODE:.here
.here:	mov	eax, KDATA
	mov	ss, eax
	mov	eax, UDATA
	mov	ds, eax
	mov	es, eax
	xor	eax, eax
	mov	fs, eax
	mov	gs, eax
	mov	eax, TSS_SEL
	ltr	ax
%macro GATE 3
	mov	eax, %1
	mov	edx, %2
	mov	ecx, %3
	call	set_gate
%endmacro
	GATE	8, on_df, 0x8e
	GATE	13, on_gp, 0x8e
	GATE	14, on_pf, 0x8e
	GATE	INT_END, on_end, 0xee
	mov	word [idtr], 8 * 64 - 1
	mov	dword [idtr + 2], idt
	lidt	[idtr]
	ret

; esp -> | error code | eip | cs | eflags | ...
on_df:	mov	dword [fault_vector], 8
	jmp	give_up
on_gp:	mov	dword [fault_vector], 13
	jmp	give_up
on_pf:	mov	dword [fault_vector], 14
	mov	eax, cr2
	mov	[fault_cr2], eax
give_up:
	pop	dword [fault_error]
	inc	dword [faults]
	xor	eax, eax
back:	mov	esp, [saved_esp]
	pop	edi
	pop	esi
	pop	ebx
	pop	ebp
	ret
on_end:	jmp	back

%macro BEGIN 0
	push	ebp
	push	ebx
	push	esi
	push	edi
	mov	[saved_esp], esp
	mov	dword [fault_vector], 0
	mov	edx, [esp + 20]		; which access
	mov	ecx, [esp + 24]		; address
	mov	eax, [esp + 28]		; value
%endmacro

global kernel_access
kernel_access:
	BEGIN
	call	do_access
	jmp	back

global user_access
user_access:
	BEGIN
	push	UDATA
	push	dword [user_stack]
	push	dword 2
	push	UCODE
	push	dword [user_entry]
	iret

; Position independent: ring 3 runs a copy.
global user_code, user_code_end
user_code:
	call	do_access
	int	INT_END
do_access:
	test	edx, edx
	jz	.read
	dec	edx
	jz	.write
	dec	edx
	jz	.add
	dec	edx
	jz	.push
	dec	edx
	jz	.jump
	cmp	edx, ACCESS_SEGMENT - 4
	je	.segment
	mov	edi, ecx		; a copy from `value` to the address
	mov	esi, eax
	movsd
	ret
.read:	mov	eax, [ecx]
	ret
.write:	mov	[ecx], eax
	ret
.add:	lock xadd [ecx], eax
	ret
.push:	mov	ebx, esp
	lea	esp, [ecx + 4]
	push	eax
	mov	esp, ebx
	ret
.jump:	call	ecx
	ret
.segment:
	mov	fs, eax
	ret
user_code_end:

%macro CONTROL_REGISTER 1
global read_%1
read_%1:
	mov	eax, %1
	ret
global write_%1
write_%1:
	mov	eax, [esp + 4]
	mov	%1, eax
	ret
%endmacro

	CONTROL_REGISTER cr0
	CONTROL_REGISTER cr2
	CONTROL_REGISTER cr3
	CONTROL_REGISTER cr4

; void write_nxe(int on): EFER.NXE, and no other bit
MSR_EFER equ 0xc0000080
global write_nxe
write_nxe:
	mov	eax, [esp + 4]
	shl	eax, 11
	xor	edx, edx
	mov	ecx, MSR_EFER
	wrmsr
	ret

; uint32_t read_efer(void)
global read_efer
read_efer:
	mov	ecx, MSR_EFER
	rdmsr
	ret

; void load_idt(base, limit);  void load_gdt(base, limit)
%macro LOAD_TABLE 1
global load_%1
load_%1:
	sub	esp, 8
	mov	eax, [esp + 16]
	mov	[esp], ax
	mov	eax, [esp + 12]
	mov	[esp + 2], eax
	l%1	[esp]
	add	esp, 8
	ret
%endmacro

	LOAD_TABLE idt
	LOAD_TABLE gdt

; uint32_t load_fs(selector)
global load_fs
load_fs:
	mov	eax, [esp + 4]
	push	eax
	push	0
	push	ACCESS_SEGMENT
	call	kernel_access
	add	esp, 12
	ret

global invalidate
invalidate:
	mov	eax, [esp + 4]
	invlpg	[eax]
	ret

global has_feature
has_feature:
	push	ebx
	mov	eax, 1
	cpuid
	mov	ecx, [esp + 8]
	mov	eax, edx
	shr	eax, cl
	and	eax, 1
	pop	ebx
	ret

; The sequences of guest/steps. Each starts at its name's label; all addresses that the guest prints count from there.

%macro SEQUENCE 3			; label, ring, name
[section .rodata]
%%name:	db	%3, 0
[section .rodata.sequences]
	dd	%%name, %1, %2
__SECT__
%1:
%endmacro

section .rodata.sequences align=4
global sequences
sequences:

section .bss
global watched
	alignb	4096
watched: resd	4
place:	resd	4

section .rodata
idtr_copy: dw	0, 0, 0

%macro TRAP_ON 0
	pushf
	or	dword [esp], 0x100
	popf
%endmacro

; Each of the three is followed by its #DB.
%macro TRAP_OFF 0
	pushf
	and	dword [esp], ~0x100
	popf
%endmacro

extern resume_at, gdt, idt, gdt_register, idt_register
%macro FAULT 1+
	mov	dword [resume_at], %%on
	%1
%%on:
%endmacro

; Ring 3 returns by a call that needs no TF, nor a stack.
%macro BACK 0
	int	0x80
%endmacro

section .text

; ---- a #DB behind each instruction ----

	SEQUENCE io, 0, "in and out"
	mov	edx, 0x80
	TRAP_ON
	in	al, 0x21
	out	0x80, al
	in	ax, dx
	out	dx, eax
	TRAP_OFF
	ret

	SEQUENCE flags, 0, "cli, sti, pushf, popf"
	TRAP_ON
	cli
	cli
	sti
	sti
	nop
	cli
	pushf
	popf
	o16 pushf
	o16 popf
	TRAP_OFF
	ret

	SEQUENCE control, 0, "clts, control registers"
	TRAP_ON
	clts
	mov	eax, cr0
	mov	cr0, eax
	mov	eax, cr2
	mov	cr2, eax
	mov	eax, cr4
	mov	cr4, eax
	smsw	eax
	lmsw	ax
	mov	eax, dr0
	mov	dr0, eax
	TRAP_OFF
	ret

	SEQUENCE table_registers, 0, "descriptor tables"
	sub	esp, 8
	TRAP_ON
	sidt	[esp]
	sgdt	[esp]
	lidt	[idt_register]
	lgdt	[gdt_register]
	sldt	eax
	lldt	ax
	str	eax
	verr	ax
	lar	ecx, eax
	TRAP_OFF
	add	esp, 8
	ret

	SEQUENCE caches, 0, "caches, MSRs, cpuid, rdtsc"
	TRAP_ON
	wbinvd
	invlpg	[watched]
	mov	ecx, 0xc0000080
	rdmsr
	wrmsr
	cpuid
	rdtsc
	TRAP_OFF
	xor	ebx, ebx
	ret

	SEQUENCE strings, 0, "repeated strings"
	push	esi
	push	edi
	cld
	mov	esi, watched
	mov	edi, place
	mov	edx, 0x80
	mov	ecx, 3
	TRAP_ON
	rep outsb
	mov	ecx, 3
	rep insb
	mov	ecx, 3
	rep stosb
	mov	ecx, 0
	rep outsb
	outsb
	insb
	TRAP_OFF
	pop	edi
	pop	esi
	ret

	SEQUENCE table_write, 0, "writes to the GDT"
	push	edi
	TRAP_ON
	mov	dword [gdt + 8 * 7], 0
	push	dword [gdt + 8 * 7]
	pop	dword [gdt + 8 * 7]
	mov	edi, gdt + 8 * 7
	mov	ecx, 2
	xor	eax, eax
	rep stosd
	TRAP_OFF
	pop	edi
	ret

	SEQUENCE data_segments, 0, "segment registers"
	TRAP_ON
	mov	eax, ds
	mov	es, eax
	push	fs
	pop	fs
	push	gs
	pop	gs
	push	ss
	pop	eax
	TRAP_OFF
	ret

	SEQUENCE load_ss, 0, "lss holds nothing"
	mov	[far_stack], esp
	TRAP_ON
	lss	eax, [far_stack]
	nop
	TRAP_OFF
	ret

section .data
far_stack: dd	0
	dw	0x10
section .text

	SEQUENCE far_ways, 0, "far transfers, iret"
	TRAP_ON
	jmp	8:.one
.one:	call	8:.two
	jmp	.three
.two:	retf
.three:	pushf
	push	cs
	push	.four
	iret
.four:	nop
	TRAP_OFF
	ret

	SEQUENCE software, 0, "int, int3, into"
	TRAP_ON
	int	0x40
	nop
	int3
	into
	nop
	TRAP_OFF
	ret

; Behind these no trap comes for one instruction; QEMU has none of that.
	SEQUENCE stack_segment, 0, "held: mov ss, pop ss"
	mov	eax, ss
	TRAP_ON
	mov	ss, eax
	nop
	push	ss
	pop	ss
	nop
	mov	ss, eax
	cli
	nop
	TRAP_OFF
	ret

	SEQUENCE user_io, 0x33, "ring 3 with IOPL 3: in, out, cli, sti"
	TRAP_ON
	in	al, 0x21
	out	0x80, al
	cli
	sti
	nop
	cli
	TRAP_OFF
	BACK

	SEQUENCE user_segments, 3, "ring 3: segment registers"
	TRAP_ON
	mov	eax, ds
	mov	fs, eax
	push	gs
	pop	gs
	nop
	TRAP_OFF
	BACK

; ---- where a fault on the way of a trap leads ----

	SEQUENCE user_int3, 3, "ring 3: int3, its gate the kernel's"
	nop
	FAULT	int3
	BACK

	SEQUENCE user_int_3, 3, "ring 3: int 3"
	nop
	FAULT	db 0xcd, 3
	BACK

	SEQUENCE user_into, 3, "ring 3: into"
	mov	al, 0x7f
	inc	al
	FAULT	into
	BACK

	SEQUENCE user_int_30, 3, "ring 3: int 30"
	FAULT	int 0x30
	BACK

	SEQUENCE user_int1, 3, "ring 3: int1"
	nop
	FAULT	db 0xf1			; QEMU wants its gate to be ring 3's
	nop
	BACK

; ---- what the CPU model's features promise ----

	SEQUENCE control_1, 0, "cr1"
	FAULT	db 0x0f, 0x20, 0xc8
	FAULT	db 0x0f, 0x22, 0xc8
	FAULT	db 0x0f, 0x20, 0xe8
	FAULT	db 0x0f, 0x20, 0xf8
	ret

	SEQUENCE user_control, 3, "ring 3: cr0, dr0"
	FAULT	mov eax, cr0
	FAULT	mov eax, dr0
	BACK

	SEQUENCE conforming_data, 0, "readable conforming code as data"
	mov	eax, 0x33
	FAULT	mov fs, eax
	mov	eax, [fs:watched]
	mov	eax, 0x23
	mov	fs, eax
	ret

; ---- 16-bit code, in a segment of its own that begins at code16 ----

	SEQUENCE sixteen, 0, "16-bit code that is none"
	mov	dword [resume_at], .last - .code
	jmp	0x40:(.code - .code)
bits 16
.code:	nop
	db	0x0f, 4			; #UD
.last:	jmp	dword 8:.back
	times	0x7e - ($ - .code) db 0x90
.edge:	nop				; and here the segment ends
	nop
	jmp	.last			; QEMU checks no limit
bits 32
.back:	ret
global code16
code16	equ sixteen.code

	SEQUENCE sixteen_end, 0, "16-bit code beyond its limit"
	mov	dword [resume_at], sixteen.last - sixteen.code
	jmp	0x40:(sixteen.edge - sixteen.code)

; ---- breakpoints ----

; Breakpoint 0 at an address: DR7's bits for it, in place (L0, and R/W0 and LEN0 from bit 16 on).
%macro BREAKPOINT 2
	mov	eax, %1
	mov	dr0, eax
	mov	eax, 1 | (%2) << 16
	mov	dr7, eax
%endmacro
EXECUTE	equ 0
WRITES	equ 0xd				; four bytes
ACCESSES equ 0xf

	SEQUENCE break_write, 0, "writes watched"
	BREAKPOINT watched, WRITES
	mov	eax, [watched]
	mov	[watched], eax
	mov	byte [watched + 3], 1
	mov	[watched + 4], eax
	push	dword [watched]
	pop	dword [watched]
	nop
	ret

	SEQUENCE break_access, 0, "reads and writes watched"
	push	edi
	BREAKPOINT watched, ACCESSES
	mov	eax, [watched]
	mov	[watched - 1], ax
	mov	edi, watched - 4
	mov	ecx, 3
	cld
	rep stosd
	cmp	[watched + 2], al
	pop	edi
	ret

	SEQUENCE break_emulated, 0, "watched by what is emulated"
	push	esi
	mov	dword [watched], 1
	BREAKPOINT watched, ACCESSES
	mov	esi, watched
	mov	edx, 0x80
	outsb
	lmsw	[watched]
	sidt	[watched - 5]
	smsw	[watched]
	mov	ecx, 3
	mov	esi, watched - 1
	rep outsb
	BREAKPOINT gdt + 8 * 7, WRITES
	mov	dword [gdt + 8 * 7], 0
	nop
	pop	esi
	ret

	SEQUENCE break_execute, 0, "a breakpoint on an instruction"
	BREAKPOINT .here, EXECUTE
	mov	ecx, 3
.again:	nop
.here:	inc	eax
	loop	.again
	ret

	SEQUENCE break_first, 0, "a breakpoint on the next instruction, on ones that are emulated"
	BREAKPOINT .one, EXECUTE
.one:	nop
	BREAKPOINT .two, EXECUTE
	nop
.two:	cli
	BREAKPOINT .three, EXECUTE
	jmp	.three
	nop
.three:	pushf
	popf
	BREAKPOINT .four, EXECUTE
	call	.four
	ret
.four:	ret

	SEQUENCE break_step, 0, "a breakpoint under TF"
	BREAKPOINT watched, WRITES
	TRAP_ON
	mov	[watched], eax
	nop
	TRAP_OFF
	ret

	SEQUENCE break_held, 0, "held: mov ss of what is watched"
	mov	[watched], ss
	BREAKPOINT watched, ACCESSES
	mov	ss, [watched]
	nop
	nop
	ret

	SEQUENCE break_window, 0, "breakpoints where Zeno may be"
	BREAKPOINT 0xffc00000, ACCESSES
	nop
	pushf
	popf
	cli
	BREAKPOINT 0xfff00000, ACCESSES
	pushf
	popf
	in	al, 0x21
	ret

	SEQUENCE user_break, 0x103, "ring 3: watched"
	mov	eax, [watched]
	mov	[watched], eax
	nop
	BACK

	SEQUENCE debug_registers, 0, "DR4 and DR5"
	FAULT	db 0x0f, 0x21, 0xe0	; mov eax, dr4
	mov	eax, cr4
	or	eax, 8
	FAULT	mov cr4, eax
	FAULT	db 0x0f, 0x21, 0xe0
	mov	eax, cr4
	and	eax, ~8
	mov	cr4, eax
	ret

; ---- bits of control registers ----

	SEQUENCE time_stamp, 0, "CR4.TSD"
	mov	eax, 4
	mov	cr4, eax
	FAULT	rdtsc
	ret

	SEQUENCE user_time_stamp, 3, "ring 3: rdtsc with CR4.TSD"
	FAULT	rdtsc
	BACK

	SEQUENCE time_stamp_on, 0, "CR4.TSD off"
	xor	eax, eax
	mov	cr4, eax
	ret

	SEQUENCE user_time_stamp_on, 3, "ring 3: rdtsc"
	FAULT	rdtsc
	BACK

	SEQUENCE sse, 0, "CR4.OSFXSR"
	FAULT	movaps xmm0, xmm1
	mov	eax, 0x200
	mov	cr4, eax
	FAULT	movaps xmm0, xmm1
	xor	eax, eax
	mov	cr4, eax
	FAULT	movaps xmm0, xmm1
	ret

; #AC is Bochs' alone.
	SEQUENCE alignment, 0, "CR0.AM"
	mov	eax, cr0
	or	eax, 1 << 18
	mov	cr0, eax
	pushf
	or	dword [esp], 1 << 18
	popf
	mov	eax, [watched + 1]	; not checked in ring 0
	pushf
	and	dword [esp], ~(1 << 18)
	popf
	ret

	SEQUENCE user_alignment, 3, "held: AC in ring 3"
	mov	eax, [watched + 1]
	pushf
	or	dword [esp], 1 << 18
	popf
	FAULT	mov eax, [watched + 1]
	FAULT	mov [watched + 2], eax
	FAULT	mov ax, [watched + 2]
	pushf
	and	dword [esp], ~(1 << 18)
	popf
	BACK

section .rodata.sequences
	dd	0, 0, 0
section .text

; Sequences with breakpoints, and with bits of control registers.

%include "guest/steps/sequence.inc"
extern watched

section .rodata.sequences align=4
global break_sequences
break_sequences:

section .text

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

	SEQUENCE break_native, 0, "a breakpoint on cpuid, and on x87"
	push	ebx
	BREAKPOINT .id, EXECUTE
	xor	eax, eax
.id:	cpuid
	BREAKPOINT .fpu, EXECUTE
	fninit
.fpu:	fld1
	fistp	dword [watched]
	mov	eax, [watched]
	pop	ebx
	xor	ecx, ecx
	xor	edx, edx
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

; The #DB waits for the end of the next instruction: on a real CPU that is in the first one of its exception's handler.
%macro HELD 1+
	mov	dword [resume_at], %%on
	mov	ss, [watched]
	%1
%%on:
%endmacro

	SEQUENCE user_held, 0x103, "ring 3: held, then a trap"
	mov	[watched], ss
	HELD	db 0xf1
	HELD	int3
	HELD	int 0x40
	mov	al, 0x7f
	add	al, 1
	HELD	into
	HELD	ud2
	xor	ecx, ecx
	HELD	div ecx
	HELD	cli
	HELD	in al, 0x21
	HELD	hlt
	HELD	sysenter
	HELD	syscall
	HELD	mov ss, ecx
	BACK

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

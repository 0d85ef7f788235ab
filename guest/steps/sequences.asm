; Sequences with a #DB behind each instruction, and faults.

%include "guest/steps/sequence.inc"

section .rodata.sequences align=4
global sequences
sequences:

section .bss
global watched
	alignb	4096
watched: resd	4
place:	resd	4

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

	SEQUENCE msrs, 0, "MSRs"
	mov	ecx, 0x10
	FAULT	rdmsr
	mov	ecx, 0x1b
	FAULT	rdmsr
	mov	ecx, 0x277
	FAULT	rdmsr
	mov	ecx, 0xc0000081
	FAULT	rdmsr
	mov	ecx, 0xc0000082
	FAULT	rdmsr
	mov	ecx, 0xc0000100
	FAULT	rdmsr
	mov	ecx, 0xc0000102
	FAULT	rdmsr
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

section .rodata.sequences
	dd	0, 0, 0

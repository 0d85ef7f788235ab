; The operations. Each is `void op(void)`: one instruction and a ret; measure() takes the ret off. cpuid asks for the
; leaf that every CPU has: EAX holds the time otherwise, and what an unknown leaf costs is of no interest.

%macro OPERATION 2
	[section .rodata]
%%name:	db	%1, 0
	[section .operations]
	dd	%%name, %2
	__?SECT?__
global bench_%2
bench_%2:
%2:
%endmacro

section .operations progbits alloc noexec nowrite align=4
global operations
operations:

section .data
	align	8
gdtr:	dw	0
	dd	0

section .text
extern bench_gdt

global nothing
nothing:
	ret

	OPERATION "cli", op_cli
	cli
	ret

	OPERATION "sti", op_sti
	sti
	ret

	OPERATION "out 0x80, al", op_out
	out	0x80, al
	ret

	OPERATION "in al, 0x80", op_in
	in	al, 0x80
	ret

	OPERATION "mov eax, cr0", op_read_cr0
	mov	eax, cr0
	ret

	OPERATION "mov cr3, eax", op_write_cr3
	mov	cr3, eax
	ret

	OPERATION "mov ss, eax", op_ss
	mov	ss, eax
	ret

	OPERATION "lgdt", op_lgdt
	lgdt	[gdtr]
	ret

	OPERATION "write to the GDT", op_gdt_write
	mov	[bench_gdt + 4], eax
	ret

	OPERATION "cpuid", op_cpuid
	xor	eax, eax
	cpuid
	ret

; The last one needs the guest's own IDT, and Lab 1B on te: main.c runs it if int=1 asks for it.
	OPERATION "int and iret", op_int
	int	0x40
	ret

section .operations
	dd	0, 0

section .text
global interrupt_return
interrupt_return:
	iret

; What measures itself, from guest code to guest code. The IDT has gates for what is behind them.
;   esp in a handler -> | eip | cs | eflags | what the routine pushed |

TIMED_VECTOR	equ 0x41
IER		equ 0x3f9
IIR		equ 0x3fa
IER_THRE	equ 2

global timed_nothing
timed_nothing:
	push	esi
	rdtsc
	mov	esi, eax
	rdtsc
	sub	eax, esi
	pop	esi
	ret

; From an int to the first instruction of its handler.
global timed_int, timed_int_handler
timed_int:
	push	esi
	rdtsc
	mov	esi, eax
	int	TIMED_VECTOR
timed_int_handler:
	rdtsc
	sub	eax, esi
	add	esp, 12
	pop	esi
	ret

; From an iret to where it leads. The frame is as an interrupt makes it: its CS is the guest's, and has RPL 0.
global timed_iret
timed_iret:
	push	esi
	pushfd
	push	8
	push	.there
	rdtsc
	mov	esi, eax
	iret
.there:	rdtsc
	sub	eax, esi
	pop	esi
	ret

; From the out that makes the UART ask for an interrupt to the first instruction of the interrupt's handler.
global timed_irq, timed_irq_handler
timed_irq:
	push	esi
	push	edi
	sti
	rdtsc
	mov	esi, eax
	mov	edx, IER
	mov	al, IER_THRE
	out	dx, al
.wait:	jmp	.wait
timed_irq_handler:
	rdtsc
	sub	eax, esi
	mov	edi, eax
	mov	al, 0
	mov	edx, IER
	out	dx, al
	mov	edx, IIR
	in	al, dx
	mov	al, 0x20
	out	0x20, al
	mov	eax, edi
	add	esp, 12
	pop	edi
	pop	esi
	ret

; uint32_t measure(void (*run)(void)): eax is 16, a selector of stack data and a harmless CR3, at the call.
global measure
measure:
	push	ebx
	push	esi
	push	edi
	mov	edi, [esp + 16]
	rdtsc
	mov	esi, eax
	mov	eax, 16
	call	edi
	rdtsc
	sub	eax, esi
	pop	edi
	pop	esi
	pop	ebx
	ret

; void load_tables(gdt, limit, idt, limit)
;   esp at the loads -> | limit (2) | base (4) | unused (2) | return | gdt | limit | idt | limit |
global load_tables
load_tables:
	sub	esp, 8
	mov	eax, [esp + 12]
	mov	ecx, [esp + 16]
	mov	[gdtr], cx
	mov	[gdtr + 2], eax
	lgdt	[gdtr]
	mov	eax, [esp + 20]
	mov	ecx, [esp + 24]
	mov	[esp], cx
	mov	[esp + 2], eax
	lidt	[esp]
	add	esp, 8
	mov	eax, 16
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	ss, eax
	jmp	8:.there
.there:	ret

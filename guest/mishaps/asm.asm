; The mishaps of guest/mishaps, and what runs them.
;
; The stack at trapped: esp -> | vector | error | eip | cs | eflags | ...
;
; SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, June 2023.

%include "guest/lib/stubs.inc"

KERNEL_CS equ 0x08			; the selectors of main.c
KERNEL_DS equ 0x10
USER_CS	equ 0x1b
USER_DS	equ 0x23
TSS	equ 0x28
ABSENT	equ 0x33			; code of ring 3 that is not there
GATE	equ 0x38			; a call gate for ring 0
CS_4K	equ 0x43			; code of ring 3, 4 KiB of it
DONE	equ 0x40			; the interrupt at the end of a mishap that went well

WINDOW	equ 0xffc00000			; mapped to nothing
HOLE	equ 0x40000000			; mapped to where no memory is

USER	equ 1				; which rings it befalls
KERNEL	equ 2
LIMIT	equ 4				; what becomes of it is not the bare machine's: it must only end in the guest
HARD	equ 8				; the same under an engine of the CPU's own; and a kernel ends by it: hard=0

section .text

	TRAP_STUBS 256, trapped

section .bss
	alignb	16
global result
result:					; struct result of main.c
.vector: resd	1
.error:	resd	1
.eip:	resd	1
.cr2:	resd	1
kernel_esp: resd 1
	resd	256
user_stack:
	alignb	16
buffer:	resd	16

section .text
trapped:
	push	eax
	mov	eax, USER_DS
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	eax, cr2
	mov	[result.cr2], eax
	pop	eax
	pop	dword [result.vector]
	pop	dword [result.error]
	pop	dword [result.eip]
	mov	esp, [kernel_esp]
	push	dword 2			; no flag is left of it
	popf
	popa
	ret

; void run(start, user): esp at .there -> | pusha's eight | return | start | user |
global run
run:	pusha
	mov	[kernel_esp], esp
	mov	eax, [esp + 36]
	cmp	dword [esp + 40], 0
	je	.kernel
	push	dword USER_DS
	push	dword user_stack
	push	dword 2
	push	dword USER_CS
	push	eax
	iret
.kernel: jmp	eax

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
	mov	eax, cr4
	or	eax, 0x200		; OSFXSR: there is SSE
	mov	cr4, eax
	mov	eax, cr0
	or	eax, 0x80000000
	mov	cr0, eax
	ret

; MISHAP name, rings: what follows, to the next WELL.
%macro MISHAP 2
	[section .rodata]
%%name:	db	%1, 0
	[section .mishaps]
	dd	%%name, %%code, %2
	[section .text]
%%code:
%endmacro
%define WELL int DONE

%macro WELL_IF_EQUAL 0
	je	%%well
	ud2
%%well:	WELL
%endmacro

; The same with one instruction: ONE name, rings, instruction
%macro ONE 3+
	MISHAP	%1, %2
	%3
	WELL
%endmacro

section .mishaps progbits alloc noexec nowrite align=4
global mishaps
mishaps:
section .text

extern page_tables			; whose last entry maps nothing
TRACKED	equ page_tables + 8188
extern spare_tables			; of SPARE: two, which map little
SPARE	equ 0x40400000

; Ways into ring 0 that are off.
	ONE	"sysenter", USER | KERNEL, sysenter
	ONE	"sysexit", USER | KERNEL, sysexit
	ONE	"syscall", USER | KERNEL, syscall
	ONE	"sysret", USER, sysret

; Memory that the guest's tables don't have: where Zeno's window lies, and the page below.
	ONE	"mov window", USER, mov eax, [WINDOW]
	ONE	"mov to window", USER, mov [WINDOW + 0x1000], eax
	ONE	"fld window", USER, fld dword [WINDOW]
	ONE	"fstp below window", USER, fstp qword [WINDOW - 8]
	ONE	"movaps window", USER, movaps xmm0, [WINDOW + 16]
	ONE	"movups across", USER, movups [WINDOW - 8], xmm0
	ONE	"fxsave window", USER, fxsave [WINDOW + 16]
	ONE	"vmptrld window", USER, vmptrld [WINDOW]
	ONE	"jmp window", USER, jmp WINDOW
	MISHAP	"call window", USER
	mov	eax, WINDOW + 0x100000
	call	eax
	WELL
	MISHAP	"push window", USER
	mov	esp, WINDOW + 64
	push	eax
	WELL
	MISHAP	"lss window", USER | LIMIT	; of the two words either may come first
	lss	esp, [WINDOW]
	WELL

; Memory that is not there, or that somebody watches.
	ONE	"gs movups", USER | KERNEL, movups [gs:buffer], xmm0
	ONE	"cs fld", USER | KERNEL, fld dword [cs:0x100000]
	ONE	"gs movups to a table", USER | KERNEL, movups [gs:spare_tables + 4064], xmm0
	ONE	"movaps hole", USER | KERNEL | HARD, movaps xmm0, [HOLE]
	ONE	"fld hole", USER | KERNEL | HARD, fld dword [HOLE]
	ONE	"movaps to a hole", USER | KERNEL | HARD, movaps [HOLE], xmm0
	ONE	"movaps beside 16", USER | KERNEL, movaps xmm0, [WINDOW + 8]
	ONE	"movaps beside 16, hole", USER | KERNEL | HARD, movaps xmm0, [HOLE + 8]
	ONE	"movaps beside 16, table", USER | KERNEL, movaps [TRACKED - 12], xmm0
	ONE	"fxsave beside 16", USER | KERNEL, fxsave [WINDOW + 8]
	MISHAP	"movups to a table", USER | KERNEL
	mov	eax, 0x5a5a5a00
	movd	xmm0, eax
	movups	[TRACKED - 12], xmm0	; its last word is the last entry: nothing
	cmp	[TRACKED - 12], eax
	mov	dword [TRACKED - 12], 0x7fc007	; as they were
	mov	dword [TRACKED - 8], 0x7fd007
	mov	dword [TRACKED - 4], 0x7fe007
	WELL_IF_EQUAL
	MISHAP	"maskmovq to a table", USER | KERNEL
	mov	edi, TRACKED - 4
	mov	eax, 0x007f0000
	movd	mm0, eax
	psllq	mm0, 32
	movq	mm1, mm0
	psllq	mm1, 1			; a mask of one byte, of the last entry
	maskmovq mm0, mm1
	emms
	mov	eax, [TRACKED]
	and	dword [TRACKED], 0
	sub	eax, 0x007f0000
	mov	ecx, [TRACKED - 4]
	xor	ecx, 0x7fe007
	or	eax, ecx
	WELL_IF_EQUAL
	MISHAP	"fnsave to a table", USER | KERNEL
	mov	eax, [SPARE]
	fninit
	fld1
	fnsave	[spare_tables + 16]
	mov	eax, [spare_tables + 16 + 28 + 4]
	frstor	[spare_tables + 16]
	fistp	dword [spare_tables + 16]
	sub	eax, 0x80000000
	dec	dword [spare_tables + 16]
	or	eax, [spare_tables + 16]
	WELL_IF_EQUAL
	MISHAP	"fxsave to two tables", USER | KERNEL
	mov	eax, [SPARE]
	mov	eax, [SPARE + 0x600000]
	mov	eax, 0x12345678
	movd	xmm0, eax
	movd	xmm7, eax
	fxsave	[spare_tables + 4096 - 256]
	xor	ecx, ecx
	movd	xmm0, ecx
	mov	edx, [spare_tables + 4096 - 256 + 160]
	xor	edx, [spare_tables + 4096 - 256 + 160 + 7 * 16]
	fxrstor	[spare_tables + 4096 - 256]
	movd	ecx, xmm0
	xor	eax, ecx
	or	eax, edx
	WELL_IF_EQUAL
	MISHAP	"entry by movss", USER | KERNEL
	mov	eax, [SPARE]
	movss	xmm0, [spare_tables]
	movss	[spare_tables + 4], xmm0	; it was not present: no CPU remembers that
	cmp	[SPARE + 0x1000], eax
	WELL_IF_EQUAL
	ONE	"jmp hole", USER | LIMIT, jmp HOLE
	ONE	"mov hole", USER, mov eax, [HOLE]
	ONE	"lar hole", USER | KERNEL | HARD, lar eax, [HOLE]
	ONE	"lsl hole", USER | KERNEL | HARD, lsl eax, [HOLE]
	ONE	"verr hole", USER | KERNEL | HARD, verr [HOLE]
	ONE	"verw hole", USER | KERNEL | HARD, verw [HOLE]
	ONE	"arpl hole", USER | HARD, arpl [HOLE], ax
	MISHAP	"arpl to a table", USER
	xor	eax, eax
	mov	[TRACKED], eax
	mov	al, 2
	arpl	[TRACKED], ax
	mov	eax, 0			; no flag changes
	mov	[TRACKED], eax
	jz	.raised
	ud2
.raised: WELL
	MISHAP	"retf hole", USER | LIMIT
	mov	esp, HOLE
	retf
	WELL
	MISHAP	"push hole", USER
	mov	esp, HOLE + 64
	push	eax
	pop	eax
	WELL
	MISHAP	"popf hole", USER | LIMIT
	mov	eax, esp
	mov	esp, HOLE
	popf				; ones, and not IF or IOPL
	mov	esp, eax
	push	dword 2
	popf
	cli
	WELL
	ONE	"lss hole", USER | LIMIT, lss eax, [HOLE]
	ONE	"les hole", USER | LIMIT, les eax, [HOLE]

; Selectors.
	ONE	"call gate", USER, call GATE:0
	ONE	"jmp gate", USER, jmp GATE:0
	ONE	"jmp tss", USER, jmp TSS:0
	ONE	"jmp kernel", USER, jmp KERNEL_CS:0
	ONE	"jmp data", USER, jmp USER_DS:0
	ONE	"jmp absent", USER, jmp ABSENT:0
	ONE	"jmp nothing", USER, jmp 0xfffb:0
	ONE	"jmp host", USER, jmp 0xe033:0
	MISHAP	"mov host", USER
	mov	eax, 0xe02b
	mov	fs, eax
	WELL
	MISHAP	"mov kernel", USER
	mov	eax, KERNEL_DS
	mov	es, eax
	WELL
	MISHAP	"iret task", USER | KERNEL
	push	dword 0x4002		; NT, and the TSS links to nothing
	popf
	iret
	WELL
	MISHAP	"iret beyond", KERNEL | LIMIT
	mov	word [0x2000], 0x0b0f	; ud2, for a machine that does not check the limit
	push	dword USER_DS
	push	dword user_stack
	push	dword 2
	push	dword CS_4K
	push	dword 0x2000
	iret
	WELL

; Undefined, or of no CPU model of ours.
	MISHAP	"8f c8", USER | KERNEL
	push	eax
	db	0x8f, 0xc8		; QEMU takes it for a pop
	WELL
	MISHAP	"vzeroupper", USER | KERNEL
	db	0xc5, 0xf8, 0x77
	WELL
	MISHAP	"evex", USER | KERNEL
	db	0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0
	WELL
	MISHAP	"jmpe", USER | KERNEL
	db	0x0f, 0xb8
	dd	0
	WELL
	MISHAP	"c7 c8", USER | KERNEL
	db	0xc7, 0xc8		; QEMU takes it for a mov
	dd	0
	WELL
	MISHAP	"xbegin", USER | KERNEL
	db	0xc7, 0xf8		; a branch, on a CPU that has it; to QEMU a mov
	dd	2
	WELL
	MISHAP	"xabort", USER | KERNEL
	db	0xc6, 0xf8, 0
	WELL
	MISHAP	"xsaves", USER | KERNEL
	db	0x0f, 0xc7, 0x2d
	dd	buffer
	WELL
	MISHAP	"xsaves hole", USER | KERNEL
	db	0x0f, 0xc7, 0x2d
	dd	HOLE
	WELL
	ONE	"vmptrld", USER | KERNEL, vmptrld [buffer]
	ONE	"vmrun", USER, vmrun
	ONE	"getsec", USER | KERNEL, getsec
	ONE	"ud2", USER | KERNEL, ud2
	ONE	"rsm", USER | KERNEL, rsm
	MISHAP	"monitor", USER | KERNEL
	mov	eax, buffer
	xor	ecx, ecx		; a hint that is none: a CPU that has it looks at that first
	monitor
	WELL
	MISHAP	"mwait", USER | KERNEL
	xor	ecx, ecx
	mwait
	WELL
	ONE	"xgetbv", USER | KERNEL, xgetbv
	ONE	"xsetbv", USER | KERNEL, xsetbv
	MISHAP	"gs maskmovq", USER
	mov	edi, buffer
	pcmpeqb	mm0, mm0
	db	0x65
	maskmovq mm0, mm0
	emms
	cmp	dword [buffer + 4], -1
	je	.written
	ud2
.written: WELL

; What ring 3 may not do.
	ONE	"hlt", USER, hlt
	ONE	"cli", USER, cli
	ONE	"in", USER, in al, 0x21
	ONE	"mov cr0", USER, mov eax, cr0
	ONE	"mov dr7", USER, mov eax, dr7
	ONE	"clts", USER, clts
	ONE	"lgdt", USER, lgdt [HOLE]
	ONE	"lldt", USER, lldt [HOLE]
	ONE	"invlpg", USER, invlpg [HOLE]
	ONE	"wbinvd", USER, wbinvd
	ONE	"rdmsr", USER, rdmsr
	ONE	"rdpmc", USER, rdpmc

%include "guest/mishaps/games.inc"

section .mishaps
	dd	0, 0, 0

; What the bits of CR0 and CR4 do, one after the other, and that they still do it in a virtual machine. For each try the
; letter of its exception, `.` if there is none; `-` where CPUID lacks the bit. Polls COM1, as Bochs wants it.

%include "multiboot.inc"

PE	equ	1
MP	equ	2
EM	equ	4
TS	equ	8
NE	equ	1 << 5
AM	equ	1 << 18
TSD	equ	4
DE	equ	8
PCE	equ	1 << 8
OSFXSR	equ	1 << 9
XMMEX	equ	1 << 10
UMIP	equ	1 << 11
AC	equ	1 << 18				; of EFLAGS
DOWN	equ	0x30				; the vector by which ring 3 comes back

; ring, what CR0 and CR4 are meanwhile beside PE and ET, the code's name
%macro	TRY 4
	dd	%1, %2, %3, %4
%endmacro

	flat_start
	mov	eax, tss
	mov	[gdt + 5 * 8 + 2], ax
	shr	eax, 16
	mov	[gdt + 5 * 8 + 4], al
	mov	byte [gdt + 5 * 8 + 5], 0x89
	mov	ax, 5 * 8
	ltr	ax
	idt_gate 6, .ud
	idt_gate 7, .nm
	idt_gate 13, .gp
	idt_gate 16, .mf
	idt_gate 17, .ac
	idt_gate 19, .xm
	idt_gate DOWN, .none, 3
	lidt	[idtr]
	xor	eax, eax
	cpuid
	mov	edi, eax			; the highest leaf
	xor	ebp, ebp			; UMIP, if there is one
	cmp	edi, 7
	jb	.begin
	mov	eax, 7
	xor	ecx, ecx
	cpuid
	test	ecx, 4
	jz	.begin
	mov	ebp, UMIP
.begin:	mov	esi, tries
.next:	mov	esp, 0x2ff000
	cmp	esi, tries.end
	jae	.over
	mov	eax, OSFXSR
	mov	cr4, eax
	mov	dword [scratch], 0x1f80		; MXCSR after a reset, all masked
	ldmxcsr	[scratch]
	fninit
	mov	eax, [esi + 8]
	test	eax, UMIP
	jz	.has
	test	ebp, ebp
	jnz	.has
	mov	al, '-'
	jmp	.say
.has:	mov	cr4, eax
	mov	eax, [esi + 4]
	or	eax, PE | 0x10
	mov	cr0, eax
	xor	ecx, ecx
	cmp	dword [esi], 3
	je	.down
	jmp	[esi + 12]
.down:	push	0x23
	push	0x2f0000
	push	2
	push	0x1b
	push	dword [esi + 12]
	mov	ax, 0x23
	mov	ds, ax
	iret

.ud:	mov	al, 'U'
	jmp	.back
.nm:	mov	al, 'N'
	jmp	.back
.gp:	mov	al, 'G'
	jmp	.back
.mf:	mov	al, 'M'
	jmp	.back
.ac:	mov	al, 'A'
	jmp	.back
.xm:	mov	al, 'X'
	jmp	.back
.none:	mov	al, '.'
.back:	mov	cx, 16
	mov	ds, cx
	mov	ecx, PE | 0x10 | NE
	mov	cr0, ecx
.say:	mov	ah, al
	mov	dx, 0x3fd
.busy:	in	al, dx
	test	al, 0x20			; THRE
	jz	.busy
	mov	al, ah
	mov	dx, 0x3f8
	out	dx, al
	cmp	al, 10
	je	.exit
	add	esi, 16
	jmp	.next
.over:	mov	al, 10
	jmp	.say
.exit:	xor	eax, eax
	out	0xf4, al
	hlt

time:	rdtsc
	int	DOWN
count:	rdpmc
	int	DOWN
gdtr_:	sgdt	[scratch]
	int	DOWN
word_:	smsw	ax
	int	DOWN
x87:	fld1
	int	DOWN
wait_:	fwait
	int	DOWN
simd:	movaps	xmm0, xmm1
	int	DOWN
crooked:
	push	dword 2 | AC
	popf
	mov	eax, [0x2e0001]
	int	DOWN
divide:	mov	dword [scratch], 0x37b		; division by 0 unmasked
	fldcw	[scratch]
	fldz
	fld1
	fdivrp
	fwait
	int	DOWN
vector:
	mov	dword [scratch], 0x1d80		; as well
	ldmxcsr	[scratch]
	xorps	xmm0, xmm0
	mov	eax, 0x3f800000
	movd	xmm1, eax
	divss	xmm1, xmm0
	int	DOWN
debug4:	mov	eax, dr4
	int	DOWN

section .data align=16
tries:
	TRY	3, 0, 0, time			; .
	TRY	3, 0, TSD, time			; G
	TRY	0, 0, TSD, time			; .
	TRY	3, 0, 0, count			; G
	TRY	3, 0, 0, gdtr_			; .
	TRY	3, 0, UMIP, gdtr_		; G
	TRY	3, 0, UMIP, word_		; G
	TRY	0, 0, UMIP, gdtr_		; .
	TRY	0, 0, 0, x87			; .
	TRY	0, TS, 0, x87			; N
	TRY	3, EM, 0, x87			; N
	TRY	0, TS, 0, wait_			; .
	TRY	3, TS | MP, 0, wait_		; N
	TRY	0, 0, 0, simd			; U
	TRY	3, 0, OSFXSR, simd		; .
	TRY	3, TS, OSFXSR, simd		; N
	TRY	0, EM, OSFXSR, simd		; U
	TRY	3, 0, 0, crooked		; .
	TRY	3, AM, 0, crooked		; A
	TRY	0, AM, 0, crooked		; .
	TRY	3, NE, 0, divide		; M
	TRY	0, 0, OSFXSR, vector		; U
	TRY	3, 0, OSFXSR | XMMEX, vector	; X
	TRY	0, 0, 0, debug4			; .
	TRY	0, 0, DE, debug4		; U
.end:
; ring 3's code and data, the TSS
	flat_tables DOWN + 1, 0x00cffb000000ffff, 0x00cff3000000ffff, 0x0000000000000067
tss:	dd	0, 0x2fe000, 16
	times	23 dd 0
section .bss
scratch:
	resd	4

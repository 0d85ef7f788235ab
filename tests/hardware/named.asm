; What CPUID names is there: for each row of the table below one letter. `.`: the bit is 0. `+`: it is 1, and the MSR
; behind it is read, or the bit of CR4 set, as manuals have it (SDM 4 table 2-2, SDM 3A 2.5, APM 2 appendix A). `!`: #GP
; comes. Rows stand in the order of the leaves (SDM 2A "CPUID", table 3-8; APM 3 appendix E). Polls COM1 for Bochs.

%include "multiboot.inc"

OSFXSR	equ	1 << 9
BASE	equ	1 << 5				; CR4 has PAE: some bits want it

RA	equ	0
RB	equ	1
RC	equ	2
RD	equ	3

; leaf, sub-leaf, register, bits of which one is enough, MSR
%macro	MSR 5
	dd	%1, %2, %3, %4, %5, 0
%endmacro
; leaf, register, bit, bit of CR4
%macro	CR4 4
	dd	%1, 0, %2, 1 << %3, 0, 1 << %4
%endmacro

	flat_start
	idt_gate 13, .gp
	lidt	[idtr]
	mov	esi, rows
.next:	mov	esp, 0x2ff000
	mov	eax, BASE | OSFXSR
	mov	cr4, eax
	mov	eax, [esi]
	and	eax, 1 << 31			; the highest leaf of the range
	cpuid
	cmp	eax, [esi]
	jb	.none
	mov	eax, [esi]
	mov	ecx, [esi + 4]
	cpuid
	mov	[said], eax
	mov	[said + 4], ebx
	mov	[said + 8], ecx
	mov	[said + 12], edx
	mov	edi, [esi + 8]
	mov	eax, [said + 4 * edi]
	test	eax, [esi + 12]
	jz	.none
	cmp	dword [esi + 20], 0
	jne	.cr4
	mov	ecx, [esi + 16]
	rdmsr
	jmp	.works
.cr4:	mov	eax, [esi + 20]
	or	eax, BASE | OSFXSR
	mov	cr4, eax
.works:	mov	al, '+'
	jmp	.say
.none:	mov	al, '.'
	jmp	.say
.gp:	mov	al, '!'
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
	add	esi, 24
	cmp	esi, rows.end
	jb	.next
	mov	al, 10
	jmp	.say
.exit:	xor	eax, eax
	out	0xf4, al
	hlt

	flat_tables 14
rows:	MSR	1, 0, RC, 1 << 2, 0x600		; DTES64: DS_AREA
	MSR	1, 0, RC, 1 << 7, 0x198		; EIST: PERF_STATUS
	MSR	1, 0, RC, 1 << 8, 0x19d		; TM2
	MSR	1, 0, RC, 1 << 11, 0xc80		; SDBG
	MSR	1, 0, RC, 1 << 15, 0x345		; PDCM
	MSR	1, 0, RC, 1 << 18, 0x1f8		; DCA
	MSR	1, 0, RC, 1 << 24, 0x6e0		; TSC deadline
	MSR	1, 0, RD, 1 << 5, 0x1b			; MSR: APIC_BASE
	MSR	1, 0, RD, 1 << 7, 0x17a		; MCE: MCG_STATUS
	MSR	1, 0, RD, 1 << 11, 0x174		; SEP
	MSR	1, 0, RD, 1 << 12, 0xfe		; MTRR
	MSR	1, 0, RD, 1 << 14, 0x179		; MCA
	MSR	1, 0, RD, 1 << 16, 0x277		; PAT
	MSR	1, 0, RD, 1 << 21, 0x600		; DS
	MSR	1, 0, RD, 1 << 22, 0x19a		; ACPI: CLOCK_MODULATION
	MSR	1, 0, RD, 1 << 29, 0x19b		; TM: THERM_INTERRUPT
	CR4	1, RC, 5, 13				; VMX
	CR4	1, RC, 26, 18				; XSAVE
	CR4	1, RD, 1, 0				; VME
	CR4	1, RD, 2, 3				; DE
	CR4	1, RD, 3, 4				; PSE
	CR4	1, RD, 4, 2				; TSC: TSD
	CR4	1, RD, 6, 5				; PAE
	CR4	1, RD, 7, 6				; MCE
	CR4	1, RD, 13, 7				; PGE
	CR4	1, RD, 24, 9				; FXSR
	CR4	1, RD, 25, 10				; SSE: OSXMMEXCPT
	MSR	6, 0, RA, 1, 0x19c			; THERM_STATUS
	MSR	6, 0, RA, 1 << 7, 0x770		; HWP
	MSR	6, 0, RC, 1, 0xe7			; MPERF
	MSR	6, 0, RC, 1 << 3, 0x1b0		; ENERGY_PERF_BIAS
	MSR	7, 0, RB, 1 << 1, 0x3b			; TSC_ADJUST
	MSR	7, 0, RB, 1 << 2, 0x3a			; SGX: FEATURE_CONTROL
	MSR	7, 0, RB, 1 << 12, 0xc8d		; monitoring of resources
	MSR	7, 0, RB, 1 << 14, 0xd90		; MPX
	MSR	7, 0, RB, 1 << 25, 0x570		; processor trace
	MSR	7, 0, RC, 1 << 5, 0xe1			; WAITPKG
	MSR	7, 0, RC, 1 << 7, 0x6a2		; CET: S_CET
	MSR	7, 0, RC, 1 << 22, 0xc0000103		; RDPID: TSC_AUX
	MSR	7, 0, RC, 1 << 29, 0xd93		; ENQCMD
	MSR	7, 0, RC, 1 << 30, 0x8c		; SGX_LC
	MSR	7, 0, RC, 1 << 31, 0x6e1		; PKS
	MSR	7, 0, RD, 1 << 9, 0x123		; SRBDS
	MSR	7, 0, RD, 1 << 19, 0x14ce		; branch records
	MSR	7, 0, RD, 1 << 20, 0x6a2		; CET: IBT
	MSR	7, 0, RD, 3 << 26 | 1 << 31, 0x48	; SPEC_CTRL
	MSR	7, 0, RD, 1 << 29, 0x10a		; ARCH_CAPABILITIES
	MSR	7, 0, RD, 1 << 30, 0xcf		; CORE_CAPABILITIES
	CR4	7, RB, 0, 16				; FSGSBASE
	CR4	7, RB, 7, 20				; SMEP
	CR4	7, RB, 20, 21				; SMAP
	CR4	7, RC, 2, 11				; UMIP
	CR4	7, RC, 3, 22				; PKU
	CR4	7, RC, 31, 24				; PKS
	MSR	0xa, 0, RA, 0xff, 0xc1			; performance counters: PMC0
	MSR	0xd, 1, RA, 1 << 3, 0xda0		; XSAVES: XSS
	MSR	0xd, 1, RA, 1 << 4, 0x1c4		; XFD
	MSR	0xf, 0, RD, ~0, 0xc8d
	MSR	0x10, 0, RB, ~0, 0xc8f			; PQR_ASSOC
	MSR	0x14, 0, RB, ~0, 0x570
	MSR	0x80000001, 0, RC, 1 << 2, 0xc0010114	; SVM: VM_CR
	MSR	0x80000001, 0, RC, 1 << 9, 0xc0010140	; OSVW
	MSR	0x80000001, 0, RC, 1 << 10, 0xc0011030	; IBS
	MSR	0x80000001, 0, RC, 1 << 12, 0xc0010114	; SKINIT
	MSR	0x80000001, 0, RC, 1 << 15, 0xc0000105	; LWP
	MSR	0x80000001, 0, RC, 1 << 19, 0xc001100c	; NodeId
	MSR	0x80000001, 0, RC, 1 << 23, 0xc0010200	; counters of a core
	MSR	0x80000001, 0, RC, 1 << 24, 0xc0010240	; counters of the north bridge
	MSR	0x80000001, 0, RC, 1 << 28, 0xc0010230	; counters of the cache
	MSR	0x80000001, 0, RD, 1 << 11, 0xc0000082	; SYSCALL: LSTAR
	MSR	0x80000001, 0, RD, 1 << 20, 0xc0000080	; NX: EFER
	MSR	0x80000001, 0, RD, 1 << 27, 0xc0000103	; RDTSCP: TSC_AUX
	MSR	0x80000007, 0, RD, 1 << 7, 0xc0010061	; PSTATE_LIMIT
	MSR	0x80000007, 0, RD, 1 << 10, 0xc00000e7	; MPERF
	MSR	0x80000008, 0, RB, 1 << 1, 0xc00000e9	; IRPERF
	MSR	0x80000008, 0, RB, 7 << 14 | 1 << 24, 0x48
	MSR	0x8000001b, 0, RA, ~0, 0xc0011030
	MSR	0x8000001f, 0, RA, 1 << 0, 0xc0010010	; SME: SYSCFG
	MSR	0x8000001f, 0, RA, 1 << 1, 0xc0010131	; SEV
.end:

section .bss
said:	resd	4

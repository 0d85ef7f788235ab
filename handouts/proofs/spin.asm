; A proof for handouts/emulators.md: does an interrupt of the host's end the run of a guest that spins with IF=0? With
; V_INTR_MASKING the host's IF alone says so, as VMRUN found it (APM 2 15.21.1 "Virtual-Interrupt Masking"), and it
; is 1. A guest that nothing ends does vmmcall at last.
;
; APM = AMD64 Architecture Programmer's Manual, volume 2, revision 3.40: appendix B "VMCB Layout".

%include "handouts/proofs/proof.inc"

VM_HSAVE_PA	equ 0xc0010117
EFER		equ 0xc0000080
EFER_SVME	equ 1 << 12
ROUNDS		equ 20000000
IF		equ 1 << 9

; A segment of the VMCB: where it is, its attributes, its selector.
%macro	flat 3
	mov	word [vmcb + %1], %3
	mov	word [vmcb + %1 + 2], 0xc00 | %2
	mov	dword [vmcb + %1 + 4], -1
%endmacro

; The exit code of a guest that begins at %1 with flags %2: INTR is 60, VMMCALL 81.
%macro	run 2
	mov	dword [vmcb + 0x578], %1
	mov	dword [vmcb + 0x570], %2
	mov	eax, vmcb
	clgi
	sti
	vmrun
	cli
	stgi
	mov	eax, [vmcb + 0x70]
%endmacro

proof:	mov	ecx, EFER
	rdmsr
	or	eax, EFER_SVME
	wrmsr
	mov	ecx, VM_HSAVE_PA
	mov	eax, host
	xor	edx, edx
	wrmsr
	mov	al, 0x11		; the PIC: vectors from 20h on, and IRQ 0 alone
	out	0x20, al
	mov	al, 0x20
	out	0x21, al
	mov	al, 4
	out	0x21, al
	mov	al, 1
	out	0x21, al
	mov	al, 0xfe
	out	0x21, al
	mov	al, 0x34		; the PIT: a tick each millisecond
	out	0x43, al
	mov	al, 1193 & 0xff
	out	0x40, al
	mov	al, 1193 >> 8
	out	0x40, al
	mov	dword [vmcb + 0x0c], 1	; INTR
	mov	dword [vmcb + 0x10], 3	; VMRUN, VMMCALL
	mov	byte [vmcb + 0x58], 1	; ASID
	mov	byte [vmcb + 0x63], 1	; V_INTR_MASKING
	flat	0x400, 0x93, DATA
	flat	0x410, 0x9b, CODE
	flat	0x420, 0x93, DATA
	flat	0x430, 0x93, DATA
	mov	ecx, EFER
	rdmsr
	mov	[vmcb + 0x4d0], eax
	mov	eax, cr0
	mov	[vmcb + 0x558], eax
	mov	dword [vmcb + 0x560], 0x400
	mov	dword [vmcb + 0x568], 0xffff0ff0
	run	spins, 2 | IF
	say	"a guest that is entered with IF=1:  "
	run	spins, 2
	say	"... with IF=0:                      "
	run	clears, 2 | IF
	say	"... whose first instruction is cli: "
	jmp	off

clears:	cli
spins:	mov	ecx, ROUNDS
.round:	dec	ecx
	jnz	.round
	vmmcall

section .bss
	alignb	4096
vmcb:	resb	4096
host:	resb	4096

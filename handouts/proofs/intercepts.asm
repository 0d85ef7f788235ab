; A proof for handouts/emulators.md: which intercepts make an exit, and what VMRUN loads and looks at. A number is an
; exit code (APM 2 appendix C "SVM Intercept Exit Codes") unless its line says what it is; 81 is the `vmmcall` to which
; a guest comes that has not exited before, and all ones VMEXIT_INVALID.

%include "handouts/proofs/proof.inc"
%include "handouts/proofs/vmcb.inc"

EXCEPTIONS	equ 0x08
IOPM		equ 0x40
EXITINFO1	equ 0x78
EVENTINJ	equ 0xa8
AT_TR		equ 0x490
AT_CR4		equ 0x548
AT_DR7		equ 0x560
AT_RAX		equ 0x5f8
AT_CR2		equ 0x640
ON_DB		equ 1 << 1
ON_BP		equ 1 << 3
ON_INVD		equ 1 << 22
ON_IOIO		equ 1 << 27
ON_TASK	equ 1 << 29
ON_ICEBP	equ 1 << 8		; of INTERCEPTS_MORE
ON_WBINVD	equ 1 << 9
ON_XSETBV	equ 1 << 13
PCIDE		equ 1 << 17		; of CR4
OSXSAVE		equ 1 << 18
OLD_TSS		equ 0x18
NEW_TSS		equ 0x20

; A guest at %1, with intercepts of exceptions, and in both words of instructions: eax = its exit code.
%macro	try 4
	mov	dword [vmcb + EXCEPTIONS], %2
	mov	dword [vmcb + INTERCEPTS], %3
	mov	dword [vmcb + INTERCEPTS_MORE], ALWAYS | (%4)
	run	%1, 2
%endmacro

proof:	call	vmcb_setup
	gate	3, ended
	gate	6, ended
	gate	31, ended
	try	.int3, ON_BP, 0, 0
	say	"int3, by the intercept of #BP:           "
	try	.int1, 0, 0, ON_ICEBP
	say	"int1, by its own:                        "
	try	.invd, 0, ON_INVD, 0
	say	"invd, by its own:                        "
	try	.invd, 0, 0, ON_WBINVD
	say	"invd, by that of wbinvd:                 "
	mov	dword [vmcb + AT_CR4], OSXSAVE
	try	.xsetbv, 0, 0, ON_XSETBV
	say	"xsetbv, by its own:                      "
	mov	dword [vmcb + AT_CR4], PCIDE
	try	ended, 0, 0, 0
	say	"VMRUN with CR4.PCIDE:                    "
	mov	dword [vmcb + AT_CR4], 0
	mov	dword [vmcb + EVENTINJ], 1 << 31 | 3 << 8 | 31
	try	ended, 0, 0, 0
	say	"VMRUN that injects exception 31:         "
	mov	dword [vmcb + EVENTINJ], 0
	mov	dword [vmcb + AT_CR2], 0x12345678
	try	.cr2, 0, 0, 0
	mov	eax, [vmcb + AT_RAX]
	say	"CR2 in the guest, 12345678 in the VMCB:  "
	mov	dword [vmcb + IOPM], ones
	try	.outs, 0, ON_IOIO, 0
	mov	eax, [vmcb + EXITINFO1]
	shr	eax, 7
	and	eax, 7
	say	"outsb of 32 bits, EXITINFO1 bits 9:7:    "
	mov	eax, .watched
	mov	dr0, eax
	mov	dword [vmcb + AT_DR7], 0x402
	try	.watched, ON_DB, 0, 0
	say	"a breakpoint that the VMCB has in DR7:   "
	mov	dword [vmcb + AT_DR7], 0x400
	mov	dword [vmcb + 0x464], tss_gdt.end - tss_gdt - 1
	mov	dword [vmcb + 0x468], tss_gdt
	mov	dword [vmcb + AT_TR], 0x8b << 16 | OLD_TSS
	mov	dword [vmcb + AT_TR + 4], 0x67
	mov	dword [vmcb + AT_TR + 8], old_tss
	mov	eax, old_tss
	mov	[tss_gdt + OLD_TSS + 2], ax
	shr	eax, 16
	mov	[tss_gdt + OLD_TSS + 4], al
	mov	eax, new_tss
	mov	[tss_gdt + NEW_TSS + 2], ax
	shr	eax, 16
	mov	[tss_gdt + NEW_TSS + 4], al
	try	.task, 0, ON_TASK, 0
	say	"a task switch, by its own:               "
	jmp	off

.int3:	int3
	vmmcall
.int1:	db	0xf1
	vmmcall
.invd:	invd
	vmmcall
.xsetbv: xor	ecx, ecx
	xor	edx, edx
	mov	eax, 3
	xsetbv
	vmmcall
.cr2:	mov	eax, cr2
	vmmcall
.outs:	mov	esi, ended
	mov	edx, 0x80
	outsb
	vmmcall
.watched: nop
	vmmcall
.task:	jmp	NEW_TSS:0
ended:	vmmcall

section .data
	align	8
tss_gdt: dq	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
	dq	0x00008b0000000067, 0x0000890000000067
.end:
	align	128
old_tss: times 26 dd 0
	align	128
new_tss: dd	0, guest_stack_top, DATA, 0, 0, 0, 0, 0, ended, 2, 0, 0, 0, 0, guest_stack_top, 0, 0, 0
	dd	DATA, CODE, DATA, DATA, DATA, DATA, 0, 0x680000
	align	4096
ones:	times 3 * 4096 db 0xff
section .text

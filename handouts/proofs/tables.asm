; A proof for handouts/emulators.md: the error code where a reserved bit is set, and A in the directory's
; entry where the page's is missing.

%include "handouts/proofs/proof.inc"

VEC_PF	equ 14
PRESENT	equ 1
WRITABLE equ 2
LARGE	equ 0x80
RESERVED equ 1 << 21			; in an entry for a 4 MiB page (SDM 3A table 4-4)
CR4_PSE	equ 0x10
CR0_PG	equ 0x80000000

proof:	gate	VEC_PF, handler
	mov	dword [directory], PRESENT | WRITABLE | LARGE
	mov	dword [directory + 4], 0x400000 | PRESENT | WRITABLE | LARGE | RESERVED
	mov	dword [directory + 8], table + PRESENT + WRITABLE
	mov	eax, directory
	mov	cr3, eax
	mov	eax, cr4
	or	eax, CR4_PSE
	mov	cr4, eax
	mov	eax, cr0
	or	eax, CR0_PG
	mov	cr0, eax
	mov	ebp, .reserved
	mov	ecx, [0x400000]
.reserved:
	say	"error code for a reserved bit: "
	mov	ebp, .missing
	mov	ecx, [0x800000]
.missing:
	say	"error code for a missing page: "
	mov	eax, [directory + 8]
	and	eax, 0xfff
	say	"flags of its directory entry:  "
	jmp	off

; esp -> | error code | eip | cs | eflags |: on to ebp, with the code in eax
handler:
	pop	eax
	mov	[esp], ebp
	iret

section .bss
	alignb	4096
directory: resb	4096
table:	resb	4096

; Instructions that the CPU's TLB still has, and the guest's page tables no longer: a page is looked at, its entry goes
; without an invlpg, and then what stands there exits. The last letter of its command line says which: `c` cpuid,
; `m` mov to CR4, `o` outsb.

%include "multiboot.inc"

section .text
DIRECTORY	equ 0x300000
TABLE		equ 0x301000
PAGE		equ 0x302000

global _start
_start:
	mov	esp, 0x2ff000
	last_letter	dl
	mov	edi, DIRECTORY
	xor	eax, eax
	mov	ecx, 1024
	rep stosd
	mov	dword [DIRECTORY], TABLE + 3
	mov	edi, TABLE
	mov	eax, 3
.fill:	stosd
	add	eax, 4096
	cmp	edi, TABLE + 4096
	jb	.fill
	mov	esi, code
	mov	edi, PAGE
	mov	ecx, code_end - code
	rep movsb
	mov	eax, DIRECTORY
	mov	cr3, eax
	mov	eax, cr0
	or	eax, 1 << 31
	mov	cr0, eax
	mov	eax, cr4
	mov	ebx, PAGE + (one - code)
	cmp	dl, 'c'
	je	.go
	mov	ebx, PAGE + (two - code)
	cmp	dl, 'm'
	je	.go
	mov	ebx, PAGE + (three - code)
.go:	mov	edx, 0x80
	mov	esi, PAGE
	jmp	PAGE

; Runs in the page whose entry it takes away.
code:	mov	dword [TABLE + (PAGE >> 12) * 4], 0
	jmp	ebx
one:	cpuid
	jmp	$
two:	mov	cr4, eax
	jmp	$
three:	outsb
	jmp	$
code_end:

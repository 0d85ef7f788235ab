; Enters long mode and a high half, runs a known number of instructions there and below.
%include "common.inc"
HIGH	equ 0xffff828000000000
ROUNDS	equ 500
CR4_PAE	equ 0x20
EFER	equ 0xc0000080
EFER_LME equ 0x100
CR0_PG	equ 0x80000000
PRESENT_RW equ 3
HUGE	equ 0x80
main:
	mov dword [pml4], pdpt + PRESENT_RW
	mov dword [pml4 + 8 * 261], pdpt + PRESENT_RW
	mov dword [pdpt], pd + PRESENT_RW
	mov dword [pd], PRESENT_RW + HUGE
	mov eax, pml4
	mov cr3, eax
	mov eax, cr4
	or eax, CR4_PAE
	mov cr4, eax
	mov ecx, EFER
	rdmsr
	or eax, EFER_LME
	wrmsr
	mov eax, cr0
	or eax, CR0_PG
	mov cr0, eax
	lgdt [gdt_register]
	jmp 8:long_mode
bits 64
long_mode:
	mov rax, HIGH			; ELF32 has no 64-bit relocation: add the two
	mov ecx, upstairs
	add rax, rcx
	jmp rax
upstairs:
	mov ecx, ROUNDS
.again:
	dec ecx
	jnz .again
	mov eax, downstairs
	jmp rax
global downstairs
downstairs:
	mov ecx, ROUNDS
.again:
	nop
	dec ecx
	jnz .again
	mov dx, DEBUG_EXIT
	xor eax, eax
	out dx, eax
	hlt

section .data
align 8
gdt:	dq 0, 0x00209a0000000000
gdt_register:
	dw 15
	dd gdt

section .bss
align 4096
pml4:	resb 4096
pdpt:	resb 4096
pd:	resb 4096

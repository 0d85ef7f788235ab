; AMD-V on a processor that has it: one guest that executes CPUID three times, each time an exit.
; APM 2 15.5 (VMRUN), appendix B (the VMCB's layout). The guest shares the host's page tables.
%include "common.inc"
EFER_SVME	equ 0x1000
VM_HSAVE_PA	equ 0xc0010117
INTERCEPT_CPUID	equ 1 << 18	; VMCB 0x00c
INTERCEPT_VMRUN	equ 1		; VMCB 0x010: must be set
ROUNDS		equ 3
main:
	jmp enter_long_mode
%include "long.inc"
long_mode:
	mov ecx, EFER
	rdmsr
	or eax, EFER_SVME
	wrmsr
	mov ecx, VM_HSAVE_PA
	mov eax, hsave
	xor edx, edx
	wrmsr
	mov dword [vmcb + 0x00c], INTERCEPT_CPUID
	mov dword [vmcb + 0x010], INTERCEPT_VMRUN
	mov dword [vmcb + 0x058], 1		; ASID
	mov word [vmcb + 0x410], 8		; CS: selector, attributes, limit
	mov word [vmcb + 0x412], 0x29b
	mov dword [vmcb + 0x414], -1
	mov word [vmcb + 0x422], 0xc93		; SS
	mov dword [vmcb + 0x424], -1
	mov ecx, EFER
	rdmsr
	mov [vmcb + 0x4d0], eax
	mov rax, cr4
	mov [vmcb + 0x548], rax
	mov rax, cr3
	mov [vmcb + 0x550], rax
	mov rax, cr0
	mov [vmcb + 0x558], rax
	mov qword [vmcb + 0x560], 0x400		; DR7
	mov eax, 0xffff0ff0
	mov [vmcb + 0x568], rax		; DR6
	mov qword [vmcb + 0x570], 2		; RFLAGS
	mov eax, guest
	mov [vmcb + 0x578], rax
	mov eax, stack_top
	mov [vmcb + 0x5d8], rax
	mov ebx, ROUNDS
again:
	mov eax, vmcb
global enter
enter:
	vmrun
global left
left:
	add qword [vmcb + 0x578], 2		; behind the CPUID
	dec ebx
	jnz again
	mov dx, BOCHS_OFF
	mov esi, shutdown_word
next:	lodsb
	out dx, al
	test al, al
	jnz next
	hlt

global guest
guest:
	mov r8d, 0x5eed
global asks
asks:
	cpuid
	cpuid
	cpuid
	hlt

section .bss
alignb 4096
vmcb:	resb 4096
hsave:	resb 4096

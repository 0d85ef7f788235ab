; The first instructions of the kernel: from a multiboot loader to C in the high half.
;
;   loader        32-bit flat protected mode, paging off; EAX = magic, EBX = physical address of
;                 the multiboot information. QEMU -kernel and boot/loader.asm do this.
;   _start        refuses, with a message on COM1 and on the screen, a loader or a CPU that will not
;                 do; builds the boot page tables; turns long mode on
;   long_mode     64-bit code, still at its low address; leaves it by one jump
;   high          on the boot stack in slot 261; calls kernel_main(magic, info) and stays there
;
; Everything before `high` is in .boot* (VMA = LMA, from 1 MiB); it may not name a symbol of the
; high half except by a 64-bit absolute move. See kern/kernel.ld.
;
; SDM = Intel SDM order no. 325462-080, June 2023. MB = Multiboot Specification version 0.6.96.

%include "kern/map.inc"

%define MB_HEADER_MAGIC	0x1badb002		; MB 3.1.1
%define MB_HEADER_FLAGS	0x00000003		; bit 0: modules page-aligned; bit 1: memory map
%define MB_BOOT_MAGIC	0x2badb002		; MB 3.2

%define CODE32		0x08
%define DATA		0x10
%define CODE64		0x18

%define CR0_PE		(1 << 0)
%define CR0_MP		(1 << 1)
%define CR0_ET		(1 << 4)
%define CR0_NE		(1 << 5)
%define CR0_WP		(1 << 16)
%define CR0_PG		(1 << 31)
%define CR4_PAE		(1 << 5)
%define MSR_EFER	0xc0000080
%define EFER_LME	(1 << 8)
%define EFER_NXE	(1 << 11)
%define EFLAGS_ID	(1 << 21)

%define PTE_P		(1 << 0)
%define PTE_W		(1 << 1)
%define PTE_PS		(1 << 7)

%define BOOT_STACK_SIZE	0x8000

extern kernel_main
global _start, boot_stack_top, boot_stack_guard, boot_pml4

; kern/kernel.ld puts this first, so it lies in the first 8 KiB of the file (MB 3.1).
section .boot.header progbits alloc noexec nowrite align=4
	dd MB_HEADER_MAGIC
	dd MB_HEADER_FLAGS
	dd -(MB_HEADER_MAGIC + MB_HEADER_FLAGS)

section .boot progbits alloc exec nowrite align=16
bits 32
_start:
	cli
	cld
	mov esp, boot_low_stack_top
	; The loader's GDT may be anywhere (MB 3.2 leaves GDTR invalid): have our own before any
	; segment register is loaded again.
	lgdt [gdtr_low]
	jmp CODE32:.flat
.flat:
	mov ecx, DATA
	mov ds, ecx
	mov es, ecx
	mov fs, ecx
	mov gs, ecx
	mov ss, ecx

	mov esi, no_loader
	cmp eax, MB_BOOT_MAGIC
	jne refuse
	mov ebp, eax			; magic; EBX (information) stays where it is
	call check_cpu			; returns only if the CPU will do
	call build_tables

	; Order of SDM 3A 10.8.5 "Initializing IA-32e Mode": PAE, CR3, LME, then PG.
	mov eax, CR4_PAE
	mov cr4, eax
	mov eax, boot_pml4
	mov cr3, eax
	mov ecx, MSR_EFER
	rdmsr
	or eax, EFER_LME | EFER_NXE
	wrmsr
	mov eax, CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE
	mov cr0, eax
	jmp CODE64:long_mode

; Goes to `refuse` unless CPUID is there and reports long mode and NX. Keeps EBX and EBP.
;
;	esp ->	EFLAGS as found		while the ID bit is tried
;		return address
check_cpu:
	mov esi, no_cpuid
	pushfd
	mov eax, [esp]
	xor dword [esp], EFLAGS_ID	; SDM 1 3.4.3: the bit can be changed <=> CPUID exists
	popfd
	pushfd
	pop ecx
	xor ecx, eax
	test ecx, EFLAGS_ID
	jz refuse

	mov edi, ebx			; CPUID writes EBX
	mov esi, no_long_mode
	mov eax, 0x80000000
	cpuid
	cmp eax, 0x80000001
	jb refuse
	mov eax, 0x80000001
	cpuid
	test edx, 1 << 29		; LM
	jz refuse
	mov esi, no_nx
	test edx, 1 << 20		; NX: setting EFER.NXE without it is a #GP
	jz refuse
	mov ebx, edi
	ret

; One PDPT and one PD serve slots 0, 261 and 262 alike: each shows physical 0..1 GiB. All of it is
; writable and executable; paging_init() replaces it. The tables are in .boot.bss, which the loader
; has zeroed.
build_tables:
	mov eax, boot_pdpt + PTE_P + PTE_W
	mov [boot_pml4 + 8 * 0], eax
	mov [boot_pml4 + 8 * 261], eax
	mov [boot_pml4 + 8 * 262], eax
	mov dword [boot_pdpt], boot_pd + PTE_P + PTE_W
	mov eax, PTE_P | PTE_W | PTE_PS
	xor ecx, ecx
.next:
	mov [boot_pd + 8 * ecx], eax
	add eax, 0x200000
	inc ecx
	cmp ecx, 512
	jb .next
	ret

; Says the string at ESI on COM1 and in the screen's first line, then halts for ever. A machine that
; can't be booted must say so: a reset would look like a hang, again and again.
refuse:
	mov dx, 0x3f9
	xor eax, eax
	out dx, al			; IER: no interrupts
	mov dx, 0x3fb
	mov al, 0x83
	out dx, al			; LCR: 8n1, divisor latch
	mov dx, 0x3f8
	mov al, 1
	out dx, al			; 115200 baud
	inc dx
	mov al, 0
	out dx, al
	mov dx, 0x3fb
	mov al, 0x03
	out dx, al
	mov edi, 0xb8000
.next:
	lodsb
	test al, al
	jz .halt
	mov ah, al
	mov ecx, 100000			; no UART, or a dead one: the screen must still get the text
.wait:
	mov dx, 0x3fd
	in al, dx
	test al, 0x20			; LSR.THRE; Bochs drops bytes written while it is 0
	loopz .wait
	mov al, ah
	mov dx, 0x3f8
	out dx, al
	cmp al, ' '
	jb .next
	mov ah, 0x4f
	stosw
	jmp .next
.halt:
	cli
	hlt
	jmp .halt

no_loader:	db 13, 10, "zeno: not started by a multiboot loader (EAX)", 13, 10, 0
no_cpuid:	db 13, 10, "zeno: this CPU has no CPUID instruction", 13, 10, 0
no_long_mode:	db 13, 10, "zeno: this CPU has no long mode (64-bit)", 13, 10, 0
no_nx:		db 13, 10, "zeno: this CPU has no NX page protection", 13, 10, 0

; The A (accessed) bits are set already, so the CPU has no reason to write to this table.
align 8
gdt:
	dq 0
	dq 0x00cf9b000000ffff		; CODE32: base 0, 4 GiB, DPL 0
	dq 0x00cf93000000ffff		; DATA
	dq 0x00af9b000000ffff		; CODE64: L = 1
gdt_end:

gdtr_low:
	dw gdt_end - gdt - 1
	dd gdt

align 8
gdtr_high:
	dw gdt_end - gdt - 1
	dq gdt + KB

bits 64
long_mode:
	mov rax, high
	jmp rax

; Not in .bss: it must be in the identity map with the rest of .boot.
section .boot.bss nobits alloc noexec write align=4096
boot_pml4:	resb 4096
boot_pdpt:	resb 4096
boot_pd:	resb 4096
		resb 64
boot_low_stack_top:

section .text
bits 64
default rel
high:
	; The low mapping goes away with paging_init(): reach the GDT through the high half.
	mov rax, gdtr_high
	mov rcx, KB
	lgdt [rax + rcx]
	xor eax, eax
	mov ds, eax
	mov es, eax
	mov fs, eax
	mov gs, eax
	mov ss, eax			; SDM 3A 5.4.1.1: a null SS is allowed in 64-bit mode, CPL 0
	lldt ax

	; kernel_main(magic, info). Upper halves are undefined after the switch from 32-bit code
	; (SDM 1 3.4.1.1), so those that C looks at are written whole.
	;
	;	boot_stack_top -> 16-byte aligned
	;	rsp ->	(the call pushes `high.halt` here; rbp = 0 ends the chain for backtraces)
	lea rsp, [boot_stack_top]
	mov edi, ebp
	mov esi, ebx
	xor ebp, ebp
	call kernel_main
.halt:
	cli				; kernel_main does not return; if it does, stop dead
	hlt
	jmp .halt

; The page below the stack is left to paging_init() to unmap.
section .bss nobits alloc noexec write align=4096
boot_stack_guard:	resb 4096
			resb BOOT_STACK_SIZE
boot_stack_top:

section .note.GNU-stack noalloc noexec nowrite progbits

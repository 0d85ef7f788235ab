; From the boot loader to the high half. e_entry is `entry` itself, as in the kernels of Mach and Little Kernel: a
; linear address that means nothing before paging is on. The boot loader has to enter where the segment that holds it
; lies.
;
; SDM = Intel SDM order no. 325462-080, June 2023; 3A 4.3: pages of 4 MiB.

%define KB	0xc0000000
%define LARGE	16			; pages of 4 MiB: the first 64 MiB, at 0 and at KB
%define CR4_PSE	(1 << 4)
%define CR0_PG	(1 << 31)

section .bss
	align	4096
dir:	resb	4096

section .text
extern _start

; EAX and EBX are the boot loader's, for guest_main(magic, info). Until paging is on, symbols are written `symbol - KB`.
global entry
entry:	mov	edi, dir - KB
	mov	edx, 0x83		; present, writable, large
	mov	ecx, LARGE
.page:	mov	[edi], edx
	mov	[edi + (KB >> 20)], edx
	add	edi, 4
	add	edx, 0x400000
	dec	ecx
	jnz	.page
	mov	edx, cr4
	or	edx, CR4_PSE
	mov	cr4, edx
	mov	edx, dir - KB
	mov	cr3, edx
	mov	edx, cr0
	or	edx, CR0_PG
	mov	cr0, edx
	mov	edx, _start
	jmp	edx

; From the boot loader to the high half: page tables for the first 32 MiB, paging, and on to _start.
;
; The kernel is linked at KB + its physical address. Until paging is on, symbols are written `symbol - KB`.
; SDM = Intel SDM order no. 325462-080, June 2023.

%define KB	0xc0000000
%define TABLES	8			; page tables of 4 MiB each: RAM that the kernel can use
%define CR0_PG	(1 << 31)
%define CR0_WP	(1 << 16)		; ring 0 honours read-only pages, too: copy-on-write needs it

section .bss
	align	4096
global kernel_dir
kernel_dir:	resb 4096
global kernel_tables
kernel_tables:	resb TABLES * 4096

section .text
extern _start

; EAX and EBX are the boot loader's, for guest_main(magic, info).
global entry
entry:
	mov	edi, kernel_tables - KB
	mov	edx, 3			; present, writable
.page:	mov	[edi], edx
	add	edi, 4
	add	edx, 4096
	cmp	edx, TABLES * 0x400000
	jb	.page
	mov	edi, kernel_dir - KB
	mov	edx, kernel_tables - KB + 3
	mov	ecx, TABLES
.table:	mov	[edi], edx		; where we are now
	mov	[edi + (KB >> 20)], edx	; where we go
	add	edi, 4
	add	edx, 4096
	dec	ecx
	jnz	.table
	mov	edx, kernel_dir - KB
	mov	cr3, edx
	mov	edx, cr0
	or	edx, CR0_PG | CR0_WP
	mov	cr0, edx
	add	ebx, KB			; the boot information lies in low memory
	mov	edx, _start
	jmp	edx

; Starts a coreboot payload on the bare machine as vmm/load/coreboot.c starts it under te: the first multiboot
; module is the ELF32 image; its segments go where they belong, a coreboot table with 32 MiB of memory to 0x500.
;
; Linked at 64 MiB, out of the payload's way. The table's bytes are the same as the host's, checksums included.

RAM	equ 32 << 20

section .multiboot progbits alloc noexec nowrite align=4
	dd	0x1badb002, 0x3, -(0x1badb002 + 0x3)

section .data
	align	8
	; struct lb_header, then struct lb_memory
table:	db	"LBIO"
	dd	24
header_checksum: dd 0
	dd	48
table_checksum: dd 0
	dd	1
memory:	dd	1, 48
	dq	0, 0x9fc00	; the extended BIOS data area lies above
	dd	1
	dq	0x100000, RAM - 0x100000
	dd	1
table_end:
gdt:	dq	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:	dw	23
	dd	gdt

section .text
; checksum(esi = bytes, ecx = half as many): eax
checksum:
	xor	eax, eax
	xor	edx, edx
.next:	mov	dx, [esi]
	add	eax, edx
	add	esi, 2
	loop	.next
	mov	edx, eax
	shr	edx, 16
	and	eax, 0xffff
	add	eax, edx
	mov	edx, eax
	shr	edx, 16
	add	eax, edx
	not	eax
	and	eax, 0xffff
	ret

global _start
_start:
	mov	esp, stack_top
	lgdt	[gdtr]
	jmp	8:.flat
.flat:	mov	eax, 16
	mov	ds, eax
	mov	es, eax
	mov	fs, eax
	mov	gs, eax
	mov	ss, eax
	cld
	mov	eax, [ebx + 24]		; mods_addr
	mov	ebp, [eax]		; the image
	movzx	ebx, word [ebp + 44]	; e_phnum
	mov	edx, [ebp + 28]		; e_phoff
	add	edx, ebp
.segment:
	cmp	dword [edx], 1		; PT_LOAD
	jne	.skip
	mov	esi, [edx + 4]
	add	esi, ebp
	mov	edi, [edx + 12]
	mov	ecx, [edx + 16]
	rep movsb
	mov	ecx, [edx + 20]
	sub	ecx, [edx + 16]
	xor	eax, eax
	rep stosb
.skip:	add	edx, 32
	dec	ebx
	jnz	.segment
	mov	esi, memory
	mov	ecx, 24
	call	checksum
	mov	[table_checksum], eax
	mov	esi, table
	mov	ecx, 12
	call	checksum
	mov	[header_checksum], eax
	mov	esi, table
	mov	edi, 0x500
	mov	ecx, table_end - table
	rep movsb
	jmp	[ebp + 24]		; e_entry

section .bss
	align	16
	resb	4096
stack_top:

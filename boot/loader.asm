; Zeno's loader: a small multiboot 1 loader for disk images that tools/mkimage.py makes.
;
; boot/mbr.asm loads it to 0:LOADER_ADDR and jumps there with DL = BIOS drive. It runs in 32-bit
; protected mode and drops to real mode only inside bios_call (bios.inc):
;
;	1. COM1, exception messages, A20 (memory.inc)
;	2. memory map (memory.inc)
;	3. directory of the image (disk.inc; format: layout.inc)
;	4. kernel, by its ELF program headers (elf.inc)
;	5. modules, page by page above the kernel
;	6. multiboot information; jump to the kernel
;
; What the kernel finds (MB 3.2), the same as under QEMU's -kernel: 32-bit flat segments (CS 0x08,
; the others 0x10), A20 open, paging and interrupts off, CR0 = PE|ET, CR4 = 0, EAX = 0x2badb002,
; EBX = information. All that it points to lies below 64 KiB, the modules above the kernel.
;
; Every fault of the disk or the image ends in one line on COM1 and on the screen, and a halt; never
; in a reset.
;
; MB = Multiboot Specification version 0.6.96.

%include "layout.inc"

%define MB_BOOT_MAGIC	0x2badb002
%define INFO_FLAGS	0x24d		; memory, cmdline, mods, mmap, loader name
%define MODULES_MAX	64

struc mbi
.flags		resd 1
.mem_lower	resd 1
.mem_upper	resd 1
.boot_device	resd 1
.cmdline	resd 1
.mods_count	resd 1
.mods_addr	resd 1
.syms		resd 4
.mmap_length	resd 1
.mmap_addr	resd 1
.drives_length	resd 1
.drives_addr	resd 1
.config_table	resd 1
.loader_name	resd 1
		resd 13			; newer fields, all absent
endstruc

struc mod
.start		resd 1
.end		resd 1
.string		resd 1
.zero		resd 1
endstruc

org LOADER_ADDR
bits 16
	jmp near start

%include "bios.inc"
%include "print.inc"
%include "memory.inc"
%include "disk.inc"
%include "elf.inc"

bits 16
start:
	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, STACK_TOP
	mov [drive], dl
	lgdt [gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword CODE32:main

bits 32
main:
	mov ax, DATA32
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov esp, STACK_TOP
	cld
	call serial_init
	call idt_init
%ifdef TEST_EXCEPTION			; tests/boot.t: a bug of the loader's
	ud2
%endif
	call clear_info
	call crc_init
	call a20_enable
	call memory_map
%ifdef TEST_DIRTY			; tests/boot.t: emulators start with zeros, machines don't
	mov edi, 0x100000
	mov ecx, 0x800000 / 4
	mov eax, 0xa5a5a5a5
	rep stosd
%endif
	call read_directory
	call load_kernel
	call load_modules
	call fill_info
	jmp enter

; The part of the multiboot information that is not filled in must be 0.
clear_info:
	mov edi, INFO_ADDR
	mov ecx, (INFO_END - INFO_ADDR) / 4
	xor eax, eax
	rep stosd
	ret

; Each module on a page of its own, as low as possible above what is there already. The kernel's
; file at the top of memory is no longer needed and may be overwritten.
load_modules:
	mov ecx, [DIR_ADDR + dir.count]
	dec ecx
	jz .end
	mov ebx, DIR_ADDR + dir.items + item_size
	mov ebp, mods
	mov eax, [kernel_end]
.next:
	push ecx
	mov ecx, [ebx + item.bytes]
	call place_low
	jc .no_room
	mov edi, eax
	call read_item
	mov [ebp + mod.start], eax
	add eax, ecx
	mov [ebp + mod.end], eax
	mov edx, [ebx + item.string]
	add edx, DIR_ADDR
	mov [ebp + mod.string], edx
	add ebp, mod_size
	add ebx, item_size
	pop ecx
	loop .next
.end:
	ret
.no_room:
	fail
	call say_item
	say " is too large for this machine's memory ("
	mov eax, ecx
	call put_hex
	say " bytes)"
	jmp stop

fill_info:
	mov edi, info
	mov dword [edi + mbi.flags], INFO_FLAGS
	mov eax, [DIR_ADDR + dir.items + item.string]
	add eax, DIR_ADDR
	mov [edi + mbi.cmdline], eax
	mov eax, [DIR_ADDR + dir.count]
	dec eax
	mov [edi + mbi.mods_count], eax
	mov dword [edi + mbi.mods_addr], mods
	mov dword [edi + mbi.mmap_addr], mmap
	mov eax, [mmap_end]
	sub eax, mmap
	mov [edi + mbi.mmap_length], eax
	mov dword [edi + mbi.loader_name], loader_name

	; mem_lower: from 0; mem_upper: from 1 MiB, each to the first hole, in KiB (MB 3.3).
	mov esi, ram_table
.next:
	cmp dword [esi + ram.type], 1
	jne .step
	mov eax, [esi + ram.end]
	cmp dword [esi + ram.start], 0
	jne .upper
	shr eax, 10
	mov [edi + mbi.mem_lower], eax
	jmp .step
.upper:
	cmp dword [esi + ram.start], 0x100000
	jne .step
	sub eax, 0x100000
	shr eax, 10
	mov [edi + mbi.mem_upper], eax
.step:
	add esi, ram_size
	cmp esi, [ram_end]
	jb .next
	ret

enter:
	lidt [idtr_real]		; as under QEMU: the loader's gates are not the kernel's
	xor eax, eax
	mov cr4, eax
	mov eax, 0x11			; PE | ET
	mov cr0, eax
	mov eax, MB_BOOT_MAGIC
	mov ebx, info
	xor ecx, ecx
	xor edx, edx
	xor esi, esi
	xor edi, edi
	xor ebp, ebp
	push dword 2
	popfd				; all flags 0, IF too
	jmp [entry]

loader_name:	db "zeno loader", 0
align 4
entry:		dd 0
kernel_end:	dd 0
file:		dd 0			; the kernel's file in memory
file_end:	dd 0
mmap_end:	dd 0
ram_end:	dd 0
entry_found:	db 0

		times LOADER_SECTORS * 512 - ($ - $$) db 0

absolute TABLES_ADDR
crc_table:	resd 4 * 256
ram_table:	resb RAM_MAX * ram_size
idt:		resb EXCEPTIONS * 8
		resb DIR_ADDR - $		; an error if the tables have grown too large

absolute INFO_ADDR
info:		resb mbi_size
mods:		resb MODULES_MAX * mod_size
mmap:		resb RAM_MAX * 24
INFO_END:
		resb KERNEL_MIN - $
